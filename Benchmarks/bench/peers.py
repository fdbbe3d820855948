"""DuckDB beside the platform: the same work on the same files, through its own Python package."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy
from pyarrow import parquet

from bench.events import NAMES, WINDOWS
from bench.server import forget_peak, memory


@dataclass
class Taken:
    """What a piece of work took."""

    seconds: float
    peak_bytes: int


def connect(path: Path | str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path))
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def timed(connection: duckdb.DuckDBPyConnection, statement: str) -> Taken:
    pid = os.getpid()
    forget_peak(pid)
    before = memory(pid)
    begin = time.perf_counter()
    connection.execute(statement)
    seconds = time.perf_counter() - begin
    return Taken(seconds, memory(pid, "VmHWM") - before)


def insert_events(database: Path, file: Path) -> float:
    """Seconds of `INSERT … SELECT` of a Parquet file into a table of a database file, made durable."""
    with connect(database) as connection:
        columns = ", ".join(f"{name} DOUBLE" for name in NAMES)
        connection.execute(f"CREATE TABLE readings (k BIGINT, ts TIMESTAMPTZ, {columns})")
        return timed(connection, f"INSERT INTO readings SELECT * FROM '{file}'").seconds


def newest_values(file: Path, keys: list[int]) -> dict[int, list[float]]:
    """The columns of each key's last event, worked out from the file."""
    newest = ", ".join(f"arg_max({name}, ts)" for name in NAMES)
    wanted = ", ".join(map(str, keys))
    with connect(":memory:") as connection:
        rows = connection.execute(
            f"SELECT k, {newest} FROM '{file}' WHERE k IN ({wanted}) GROUP BY k"
        ).fetchall()
    return {row[0]: list(row[1:]) for row in rows}


def newest_of_all(database: Path) -> float:
    """Seconds of opening a database file and finding every key's last event."""
    newest = ", ".join(f"arg_max({name}, ts)" for name in NAMES)
    begin = time.perf_counter()
    with connect(database) as connection:
        connection.execute(f"SELECT k, {newest} FROM readings GROUP BY k").fetchall()
    return time.perf_counter() - begin


def spine_of(file: Path) -> str:
    """The spine with its rows numbered and the beginnings of its windows."""
    begins = ", ".join(
        f"make_timestamptz(epoch_us(ts) - {length} - (epoch_us(ts) - {length}) % {step}) AS {name}_from"
        for name, _, _, _, length, step, _ in WINDOWS
    )
    return (
        f"(SELECT *, {begins} FROM (SELECT k, ts, "
        f"file_row_number AS place FROM read_parquet('{file}', file_row_number = true)))"
    )


def join_latest(
    connection: duckdb.DuckDBPyConnection, events: str, spine: Path, output: Path
) -> Taken:
    """DuckDB's own ASOF join, from the spine's file to a file."""
    columns = ", ".join(f"e.{name} AS {name}" for name in NAMES)
    return timed(
        connection,
        f"COPY (SELECT s.k, s.ts, s.place, {columns} FROM {spine_of(spine)} s "
        f"ASOF LEFT JOIN {events} e ON s.k = e.k AND s.ts >= e.ts) TO '{output}' (FORMAT parquet)",
    )


def join_windows(
    connection: duckdb.DuckDBPyConnection, events: str, spine: Path, output: Path
) -> Taken:
    """Every window by brute force: each spine row beside all events of its longest window."""
    functions = {"mean": "avg"}
    features = []
    for name, aggregate, column, _, length, _, _ in WINDOWS:
        cell = "e.k" if column == "*" else f"e.{column}"
        value = f"{functions.get(aggregate, aggregate)}({cell}) FILTER (e.ts >= s.{name}_from)"
        features.append(
            f"coalesce({value}, 0) AS {name}" if aggregate == "sum" else f"{value} AS {name}"
        )
    longest = max(WINDOWS, key=lambda window: window[4])[0]
    return timed(
        connection,
        f"COPY (SELECT s.place, {', '.join(features)} FROM {spine_of(spine)} s "
        f"LEFT JOIN {events} e ON s.k = e.k AND e.ts <= s.ts AND e.ts >= s.{longest}_from "
        f"GROUP BY s.place) TO '{output}' (FORMAT parquet)",
    )


def columns_in_order(file: Path, names: list[str], order: str | None = None) -> numpy.ndarray:
    """Columns of a Parquet file as doubles, null as NaN, sorted by the column `order`."""
    table = parquet.read_table(file)
    if order:
        table = table.sort_by(order)
    columns = [table.column(name).to_numpy().astype("float64") for name in names]
    return numpy.column_stack(columns)


def differences(
    ours: numpy.ndarray, theirs: numpy.ndarray, names: list[str], tolerances: list[float]
) -> str:
    """The first place where two answers differ, as a sentence; empty where they agree."""
    if ours.shape != theirs.shape:
        return f"{ours.shape[0]} rows, expected {theirs.shape[0]}"
    for index, (name, tolerance) in enumerate(zip(names, tolerances, strict=True)):
        left, right = ours[:, index], theirs[:, index]
        same = (numpy.isnan(left) & numpy.isnan(right)) | (
            numpy.abs(left - right) <= tolerance * numpy.maximum(1, numpy.abs(right))
        )
        if not same.all():
            row = int(numpy.argmin(same))
            count = int((~same).sum())
            return (
                f"{name} differs in {count} of {len(same)} rows, first in row {row}: "
                f"{left[row]!r}, expected {right[row]!r}"
            )
    return ""
