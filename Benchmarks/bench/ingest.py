"""How fast events come in: files, batches and single events."""

import time
from collections.abc import Iterator

from bench import events, load, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import memory, processor_seconds

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
    yield pushed(plan, "push_batch100", rows=100, connections=16, target=50_000)


def push_single_64(plan: Plan) -> Iterator[Row]:
    yield pushed(plan, "push_single_64", rows=1, connections=64, target=8_000)


def pushed(plan: Plan, name: str, rows: int, connections: int, target: float) -> Row:
    seconds = plan.seconds(8)
    path = "/api/v1/sources/pushes/events"
    with plan.server(plan.folder(name), PUSHES) as server:
        server.apply()

        def push(path: str, requests: int, run: str) -> load.Pushed:
            return load.push(server, path, requests, rows, connections, run, events.KEYS)

        say(f"{name}: echo of the same bodies")
        rehearsal = push("/api/v1/echo", 20 * connections, "e")
        raw = push("/api/v1/echo", int(rehearsal.events_per_second * seconds / 2 / rows), "e")
        say(f"{name}: pushes")
        rehearsal = push(path, 20 * connections, "r")
        used = processor_seconds(server.pid)
        begin = time.perf_counter()
        requests = int(max(rehearsal.events_per_second * seconds / rows, 20 * connections))
        run = push(path, requests, "p")
        elapsed = time.perf_counter() - begin
        used = processor_seconds(server.pid) - used
        acknowledged = rehearsal.acknowledged + run.acknowledged
        stored = server.count("pushes")
        rejected = rehearsal.refused + run.refused
    wrong = ""
    possible = acknowledged + (rehearsal.pending + run.pending) * rows
    if not acknowledged <= stored <= possible:
        wrong = f"{acknowledged:,} events acknowledged, {stored:,} stored"
    elif rejected:
        wrong = f"{rejected:,} requests refused: {run.complaint or rehearsal.complaint}"
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
            "pending": run.pending,
            "processor_share": used / elapsed,
        },
    )
