"""How soon the platform is there, empty and full, and what it needs while idle."""

import statistics
import subprocess
import time
from collections.abc import Iterator

from bench import events, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import Server, memory

STARTS = 5


def start(plan: Plan) -> Iterator[Row]:
    server = plan.server(plan.folder("start"), "project: empty\n")
    times = []
    for attempt in range(STARTS):
        times.append(server.start())
        if attempt < STARTS - 1:
            server.stop()
    try:
        time.sleep(2)
        resident = memory(server.pid)
    finally:
        server.stop()
    begin = time.perf_counter()
    for _ in range(STARTS):
        subprocess.run([server.binary, "--version"], check=True, capture_output=True)
    raw = (time.perf_counter() - begin) / STARTS
    yield Row(
        "start",
        f"exec to ready, empty project, median of {STARTS}",
        statistics.median(times),
        "s",
        raw,
        "martlet --version",
        1,
        more_is_better=False,
        note=f"first start, on a new data directory, {times[0]:.3f} s",
        details={"runs": times},
    )
    yield Row(
        "idle_memory",
        "resident memory without workers, 2 s after start",
        resident / 1e6,
        "MB",
        target=100,
        more_is_better=False,
    )


def restore(plan: Plan) -> Iterator[Row]:
    count = plan.scaled(5_000_000)
    folder = plan.folder("restore")
    file = folder / "readings.parquet"
    say(f"writing {count:,} events")
    events.write_events(file, count)
    expected = peers.newest_values(file, list(range(0, events.KEYS, 100)))
    project = events.SOURCE + events.MIXED_VIEW + events.LATEST_VIEW
    server = plan.server(folder, project)
    with server:
        server.apply()
        server.upload("readings", file)
        before = answers(server, expected)
    database = folder / "raw.duckdb"
    peers.insert_events(database, file)
    raw = peers.newest_of_all(database)
    snapshot = server.data_folder / "online.snapshot"
    missing = "" if snapshot.exists() else f"a clean stop left no {snapshot.name}"
    size = snapshot.stat().st_size if snapshot.exists() else 0
    yield restarted(
        "restore_snapshot",
        f"restart with {count:,} events and a snapshot",
        server,
        expected,
        before,
        raw,
        missing,
        f"the snapshot has {size / 1e6:.1f} MB",
    )
    snapshot.unlink(missing_ok=True)
    yield restarted(
        "restore_warehouse",
        f"restart with {count:,} events, no snapshot",
        server,
        expected,
        before,
        raw,
        "",
        "",
    )


def answers(server: Server, expected: dict[int, list[float]]) -> list[dict]:
    return server.online(events.LATEST_FEATURES, [{"k": key} for key in sorted(expected)])


def restarted(
    name: str,
    what: str,
    server: Server,
    expected: dict[int, list[float]],
    before: list[dict],
    raw: float,
    wrong: str,
    note: str,
) -> Row:
    say(name)
    seconds = server.start()
    try:
        after = answers(server, expected)
        resident = memory(server.pid)
    finally:
        server.stop()
    values = [expected[key] for key in sorted(expected)]
    if not wrong and (after != before or [row["values"] for row in after] != values):
        wrong = "online answers differ from those before the restart or from the events"
    notes = [note] if note else []
    return Row(
        name,
        what,
        seconds,
        "s",
        raw,
        "DuckDB finds every key's last event",
        5,
        more_is_better=False,
        wrong=wrong,
        note="; ".join([*notes, f"resident memory then {resident / 1e6:.0f} MB"]),
    )
