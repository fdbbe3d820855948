"""Historical reads: a spine against ten million events, beside DuckDB's own joins."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from bench import events, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import Server, forget_peak, memory, processor_seconds

ATTEMPTS = 3
# What a platform with the most events of the curve may take.
CURVE_BYTES = 4 << 30


def history(plan: Plan) -> Iterator[Row]:
    count = plan.scaled(10_000_000)
    rows = plan.scaled(100_000)
    folder = plan.folder("history")
    file, spine = folder / "readings.parquet", folder / "spine.parquet"
    end = events.end_of_time()
    say(f"writing {count:,} events and a spine of {rows:,} rows")
    events.write_events(file, count, end=end)
    events.write_spine(spine, rows, end)
    views = events.LATEST_VIEW + events.WINDOW_VIEW
    server = plan.server(folder, events.SOURCE + views)
    with server:
        server.apply()
        say("ingesting them")
        server.upload("readings", file)
    answers: dict[str, Answer] = {}
    # A platform that has just started has no memory left over from the ingest to hide behind.
    with server:
        for name, features in (
            ("history_latest", events.LATEST_FEATURES),
            ("history_window", events.WINDOW_FEATURES),
        ):
            if plan.wants(name) or plan.wants("history"):
                answers[name] = read(server, name, features, spine)
    database = folder / "raw.duckdb"
    say("DuckDB: the same table")
    peers.insert_events(database, file)
    if "history_latest" in answers:
        yield from latest_rows(answers["history_latest"], database, file, spine)
    if "history_window" in answers:
        yield from window_rows(answers["history_window"], database, spine)


CURVE = {"history_1m": 1_000_000, "history_10m": 10_000_000, "history_100m": 100_000_000}
# Spine rows whose answers are compared with those of DuckDB over the file.
COMPARED = 200


def curve(plan: Plan) -> Iterator[Row]:
    """The windows of one spine over ever more events: how time and memory grow."""
    before: tuple[int, float] | None = None
    for name, full in CURVE.items():
        if not (plan.wants(name) or plan.wants("history_curve")):
            continue
        count = plan.scaled(full)
        folder = plan.folder(name)
        time_row, memory_row = curve_rows(plan, name, count, folder, before)
        before = (count, time_row.ours)
        yield time_row
        yield memory_row
        if not plan.keeps_files:
            shutil.rmtree(folder)


def curve_rows(
    plan: Plan, name: str, count: int, folder: Path, before: tuple[int, float] | None
) -> tuple[Row, Row]:
    file, spine = folder / "readings.parquet", folder / "spine.parquet"
    end = events.end_of_time()
    say(f"writing {count:,} events")
    events.write_events(file, count, end=end, names=events.WINDOW_COLUMNS)
    events.write_spine(spine, plan.scaled(100_000), end)
    server = plan.server(folder, events.WINDOW_SOURCE + events.WINDOW_VIEW)
    with server:
        server.apply()
        say("ingesting them")
        begin = time.perf_counter()
        server.upload("readings", file)
        ingested = time.perf_counter() - begin
    with server:
        answer = read(server, name, events.WINDOW_FEATURES, spine)
        # Of the whole process, its online state included, not of the read alone.
        peak = memory(server.pid, "VmHWM")
    few, output = folder / "few.parquet", folder / "windows.parquet"
    with peers.connect(":memory:") as connection:
        connection.execute(
            f"COPY (SELECT * FROM '{spine}' LIMIT {COMPARED}) TO '{few}' (FORMAT parquet)"
        )
        peers.join_windows(connection, f"'{file}'", few, output)
    names = [window for window, *_ in events.WINDOWS]
    tolerances = [tolerance for *_, tolerance in events.WINDOWS]
    ours = peers.columns_in_order(answer.file, events.WINDOW_FEATURES)[:COMPARED]
    theirs = peers.columns_in_order(output, names, order="place")
    wrong = peers.differences(ours, theirs, events.WINDOW_FEATURES, tolerances)
    # Linear growth from the size before is the most that is allowed.
    target = None if before is None else before[1] * count / before[0]
    time_row = Row(
        name,
        f"{plan.scaled(100_000):,} spine rows x 10 window features over {count:,} events",
        answer.best,
        "s",
        target=target,
        more_is_better=False,
        wrong=wrong,
        note=f"{answer.note()}; ingested in {ingested:.0f} s",
        details={
            "runs": answer.seconds,
            "processor_seconds": answer.processor_seconds,
            "ingest_seconds": ingested,
        },
    )
    memory_row = Row(
        f"{name}_memory",
        "memory of the whole process at its peak",
        peak / 1e6,
        "MB",
        target=CURVE_BYTES / 1e6,
        more_is_better=False,
        note=f"{answer.peak_bytes / 1e6:,.0f} MB of it for the read",
    )
    return time_row, memory_row


class Answer:
    """The file that a historical read brought, and what it took."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: list[float] = []
        # Of both cores; unlike the time it says something on a machine that is busy otherwise.
        self.processor_seconds: list[float] = []
        self.peak_bytes = 0

    @property
    def best(self) -> float:
        return min(self.seconds)

    def note(self) -> str:
        runs = ", ".join(f"{seconds:.2f}" for seconds in self.seconds)
        return f"runs of {runs} s, at least {min(self.processor_seconds):.2f} s of processor time"


def read(server: Server, name: str, features: list[str], spine: Path) -> Answer:
    answer = Answer(server.folder / f"{name}.parquet")
    query = urlencode(
        {
            "features": ",".join(features),
            "time": "ts",
            "mode": "as_corrected",
            "spine_format": "parquet",
            "format": "parquet",
        }
    )
    body = spine.read_bytes()
    before = memory(server.pid)
    for _ in range(ATTEMPTS):
        forget_peak(server.pid)
        used = processor_seconds(server.pid)
        begin = time.perf_counter()
        result = server.bytes_of("POST", f"/api/v1/features/history?{query}", body)
        answer.seconds.append(time.perf_counter() - begin)
        answer.processor_seconds.append(processor_seconds(server.pid) - used)
        answer.peak_bytes = max(answer.peak_bytes, memory(server.pid, "VmHWM") - before)
        answer.file.write_bytes(result)
        say(f"{name}: {answer.seconds[-1]:.2f} s")
    return answer


def compare(
    answer: Answer, features: list[str], peer: Path, names: list[str], tolerances: list[float]
) -> str:
    """Every row of our answer, which is in the spine's order, against every row of the peer's."""
    ours = peers.columns_in_order(answer.file, features)
    theirs = peers.columns_in_order(peer, names, order="place")
    return peers.differences(ours, theirs, features, tolerances)


def latest_rows(answer: Answer, database: Path, file: Path, spine: Path) -> Iterator[Row]:
    say("DuckDB: ASOF join")
    output = database.parent / "asof.parquet"
    with peers.connect(database) as connection:
        runs = [peers.join_latest(connection, "readings", spine, output) for _ in range(2)]
    peer = min(runs, key=lambda taken: taken.seconds)
    wrong = compare(answer, events.LATEST_FEATURES, output, events.NAMES, [0.0] * len(events.NAMES))
    with peers.connect(":memory:") as connection:
        from_file = peers.join_latest(connection, f"'{file}'", spine, output)
    yield Row(
        "history_latest",
        "spine joined with 10 latest values of each row's time",
        answer.best,
        "s",
        peer.seconds,
        "DuckDB ASOF join",
        1.2,
        more_is_better=False,
        wrong=wrong,
        note=f"{answer.note()}; DuckDB's ASOF join from the Parquet file {from_file.seconds:.2f} s",
        details={"runs": answer.seconds, "asof_from_parquet_seconds": from_file.seconds},
    )
    yield memory_row("history_latest_memory", answer, peer)


def window_rows(answer: Answer, database: Path, spine: Path) -> Iterator[Row]:
    say("DuckDB: windows by brute force")
    output = database.parent / "windows.parquet"
    with peers.connect(database) as connection:
        peer = peers.join_windows(connection, "readings", spine, output)
    names = [name for name, *_ in events.WINDOWS]
    tolerances = [tolerance for *_, tolerance in events.WINDOWS]
    yield Row(
        "history_window",
        "spine joined with 10 window features (1h, 24h, 7d)",
        answer.best,
        "s",
        peer.seconds,
        "DuckDB join and GROUP BY",
        2.5,
        more_is_better=False,
        wrong=compare(answer, events.WINDOW_FEATURES, output, names, tolerances),
        note=answer.note(),
        details={"runs": answer.seconds},
    )
    yield memory_row("history_window_memory", answer, peer)


def memory_row(name: str, answer: Answer, peer: peers.Taken) -> Row:
    return Row(
        name,
        "memory that the read needed at its peak",
        answer.peak_bytes / 1e6,
        "MB",
        peer.peak_bytes / 1e6,
        "DuckDB",
        1_500,
        more_is_better=False,
    )
