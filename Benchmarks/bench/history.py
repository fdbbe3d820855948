"""Historical reads: a spine against ten million events, beside DuckDB's own joins."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from bench import events, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import Server, forget_peak, memory

ATTEMPTS = 3


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


class Answer:
    """The file that a historical read brought, and what it took."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: list[float] = []
        self.peak_bytes = 0

    @property
    def best(self) -> float:
        return min(self.seconds)

    def note(self) -> str:
        return "runs of " + ", ".join(f"{seconds:.2f}" for seconds in self.seconds) + " s"


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
        begin = time.perf_counter()
        result = server.bytes_of("POST", f"/api/v1/features/history?{query}", body)
        answer.seconds.append(time.perf_counter() - begin)
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
        2.5,
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
        5,
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
