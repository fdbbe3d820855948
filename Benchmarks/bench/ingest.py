"""How fast events come in: files, batches and single events."""

import time
from collections.abc import Iterator

from bench import events, load, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import memory, processor_seconds

ECHO = "/api/v1/echo"
ATTEMPTS = 3

PUSHES = """\
project: bench
entities:
  item: {key: [k]}
sources:
  pushes:
    event_time: at
    event_id: id
    columns: {id: string, k: int64, kind: string, value: double}
views:
  activity:
    entity: item
    source: pushes
    features:
      last_value: {latest: value}
      count_1h: {count: "*", window: 1h}
      mean_24h: {mean: value, window: 24h}
      bought_7d: {sum: value, where: "kind = 'buy'", window: 7d}
"""


def ingest_parquet(plan: Plan) -> Iterator[Row]:
    count = plan.scaled(3_000_000)
    folder = plan.folder("ingest")
    file = folder / "readings.parquet"
    say(f"writing {count:,} events ({file.name})")
    events.write_events(file, count)
    raw = count / min(
        peers.insert_events(folder / f"raw{attempt}.duckdb", file) for attempt in range(2)
    )
    best, facts = 0.0, {}
    wrong = ""
    # Once on an empty platform and once on a second one: the better of two, as for the peer.
    for attempt in range(2):
        server = plan.server(folder / str(attempt), events.SOURCE + events.MIXED_VIEW)
        with server:
            server.apply()
            used = processor_seconds(server.pid)
            begin = time.perf_counter()
            answer = server.upload("readings", file)
            seconds = time.perf_counter() - begin
            say(f"ingested {answer.get('accepted'):,} events in {seconds:.2f} s")
            if count / seconds > best:
                best = count / seconds
                facts = {
                    "seconds": seconds,
                    "seconds_by_the_platform": answer.get("seconds"),
                    "processor_seconds": processor_seconds(server.pid) - used,
                    "memory_bytes": memory(server.pid, "VmHWM"),
                    "file_bytes": file.stat().st_size,
                }
            stored = server.count("readings")
            if stored != count or answer.get("accepted") != count:
                wrong = f"{stored} rows stored of {count}; the answer says {answer}"
            wrong = wrong or activity_is_wrong(server, file)
    yield Row(
        "ingest_parquet",
        f"Parquet file of {count:,} events, 1 latest and 3 window features",
        best,
        "events/s",
        raw,
        "DuckDB INSERT … SELECT",
        600_000,
        wrong=wrong,
        note=f"peak memory {facts['memory_bytes'] / 1e6:.0f} MB, "
        f"{facts['processor_seconds']:.2f} s of processor time in {facts['seconds']:.2f} s",
        details=facts,
    )


def activity_is_wrong(server, file) -> str:
    """Compares the last value of some keys with the file."""
    expected = peers.newest_values(file, list(range(0, events.KEYS, 100)))
    keys = sorted(expected)
    rows = server.online(["activity.last_c0"], [{"k": key} for key in keys])
    for key, row in zip(keys, rows, strict=True):
        if row["values"][0] != expected[key][0]:
            return f"activity.last_c0 of {key} is {row['values'][0]}, expected {expected[key][0]}"
    return ""


def push_batch100(plan: Plan) -> Iterator[Row]:
    yield push_row(plan, "push_batch100", rows=100, connections=16, target=50_000)


def push_single_64(plan: Plan) -> Iterator[Row]:
    yield push_row(plan, "push_single_64", rows=1, connections=64, target=8_000)


def push_row(plan: Plan, name: str, rows: int, connections: int, target: float) -> Row:
    path = "/api/v1/sources/pushes/events"
    with plan.server(plan.folder(name), PUSHES) as server:
        server.apply()

        def push(path: str, requests: int, run: str) -> load.Pushed:
            return load.push(server, path, requests, rows, connections, run, events.KEYS)

        say(f"{name}: pushes and echoes of the same bodies, in turns")
        rehearsals = [push(place, 20 * connections, "r") for place in (ECHO, path)]
        rates = [rehearsal.events_per_second / rows for rehearsal in rehearsals]
        requests = [int(max(rate * plan.seconds(3), 20 * connections)) for rate in rates]
        raws, runs = [], []
        used = 0.0
        for attempt in range(ATTEMPTS):
            raws.append(push(ECHO, requests[0], "e"))
            used -= processor_seconds(server.pid)
            runs.append(push(path, requests[1], f"p{attempt}-"))
            used += processor_seconds(server.pid)
        raw = max(raws, key=lambda run: run.events_per_second)
        run = max(runs, key=lambda run: run.events_per_second)
        pushed = [rehearsals[1], *runs]
        acknowledged = sum(one.acknowledged for one in pushed)
        pending = sum(one.pending for one in pushed)
        rejected = sum(one.refused for one in pushed)
        stored = server.count("pushes")
    wrong = ""
    possible = acknowledged + pending * rows
    if not acknowledged <= stored <= possible:
        wrong = f"{acknowledged:,} events acknowledged, {stored:,} stored"
    elif rejected:
        wrong = (
            f"{rejected:,} requests refused: {next(one.complaint for one in pushed if one.refused)}"
        )
    elif not run.acknowledged:
        wrong = "nothing was acknowledged"
    batch = f"batches of {rows}" if rows > 1 else "single events"
    return Row(
        name,
        f"{batch}, {connections} connections, acknowledged = committed",
        run.events_per_second,
        "events/s",
        raw.events_per_second,
        "echo of the same bodies",
        target,
        wrong=wrong,
        note=f"{acknowledged:,} acknowledged, {stored:,} stored; a push takes p50 "
        f"{run.p50_milliseconds:.3g} ms, p99 {run.p99_milliseconds:.3g} ms",
        details={
            "acknowledged": acknowledged,
            "stored": stored,
            "pending": pending,
            "runs": [one.events_per_second for one in runs],
            "processor_microseconds_an_event": 1e6
            * used
            / max(1, sum(one.acknowledged for one in runs)),
        },
    )
