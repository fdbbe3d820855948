"""Generated events: files of numbers in order of time, and spines over them."""

import time
from pathlib import Path

import numpy
import pyarrow
from pyarrow import parquet

KEYS = 10_000
COLUMNS = 10
DAYS = 30
DAY = 86_400_000_000
HOUR = DAY // 24
MINUTE = HOUR // 60
ROWS_AT_ONCE = 500_000
# As many rows as DuckDB gives one thread at a time.
ROW_GROUP = 122_880
TIME = pyarrow.timestamp("us", tz="UTC")

NAMES = [f"c{number}" for number in range(COLUMNS)]

SOURCE = f"""\
project: bench
entities:
  item: {{key: [k]}}
sources:
  readings:
    event_time: ts
    columns: {{k: int64, {", ".join(f"{name}: double" for name in NAMES)}}}
views:
"""

LATEST_VIEW = """\
  newest:
    entity: item
    source: readings
    features:
""" + "".join(f"      {name}: {{latest: {name}}}\n" for name in NAMES)

LATEST_FEATURES = [f"newest.{name}" for name in NAMES]

MIXED_VIEW = """\
  activity:
    entity: item
    source: readings
    features:
      last_c0: {latest: c0}
      count_1h: {count: "*", window: 1h}
      mean_c1_24h: {mean: c1, window: 24h}
      sum_c2_7d: {sum: c2, window: 7d}
"""

# Name, aggregate, column, window and its resolution (semantics §4), tolerance of the comparison.
WINDOWS: list[tuple[str, str, str, str, int, int, float]] = [
    ("count_1h", "count", "*", "1h", HOUR, MINUTE, 0),
    ("count_24h", "count", "*", "24h", DAY, HOUR, 0),
    ("count_7d", "count", "*", "7d", 7 * DAY, HOUR, 0),
    ("sum_c0_24h", "sum", "c0", "24h", DAY, HOUR, 1e-9),
    ("sum_c1_7d", "sum", "c1", "7d", 7 * DAY, HOUR, 1e-9),
    ("mean_c2_24h", "mean", "c2", "24h", DAY, HOUR, 1e-9),
    ("mean_c3_7d", "mean", "c3", "7d", 7 * DAY, HOUR, 1e-9),
    ("min_c4_24h", "min", "c4", "24h", DAY, HOUR, 0),
    ("max_c5_7d", "max", "c5", "7d", 7 * DAY, HOUR, 0),
    ("max_c6_1h", "max", "c6", "1h", HOUR, MINUTE, 0),
]

WINDOW_VIEW = """\
  lately:
    entity: item
    source: readings
    features:
""" + "".join(
    f'      {name}: {{{aggregate}: "{column}", window: {window}}}\n'
    for name, aggregate, column, window, *_ in WINDOWS
)

WINDOW_FEATURES = [f"lately.{name}" for name, *_ in WINDOWS]


def end_of_time() -> int:
    """A minute ago in microseconds: events are of the past, and windows that end now see them."""
    return time.time_ns() // 1000 - 60_000_000


def write_events(path: Path, count: int, seed: int = 1, end: int | None = None) -> None:
    """Writes `count` events of `KEYS` keys over `DAYS` days, in order of time, no two at one time."""
    random = numpy.random.default_rng(seed)
    span = DAYS * DAY - count
    first = (end_of_time() if end is None else end) - DAYS * DAY
    times = numpy.sort(random.integers(0, span, count)) + numpy.arange(count) + first
    fields = [("k", pyarrow.int64()), ("ts", TIME)] + [(name, pyarrow.float64()) for name in NAMES]
    schema = pyarrow.schema(fields)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, count, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, count - start)
            columns = [
                pyarrow.array(random.integers(0, KEYS, rows)),
                pyarrow.array(times[start : start + rows]).cast(TIME),
            ]
            for _ in NAMES:
                columns.append(pyarrow.array(random.normal(100, 20, rows).round(2)))
            writer.write_table(pyarrow.table(columns, schema=schema), row_group_size=ROW_GROUP)


def write_spine(path: Path, count: int, end: int, seed: int = 2) -> None:
    """Writes `count` pairs of key and time, in no order; some keys have no events."""
    random = numpy.random.default_rng(seed)
    keys = random.integers(0, KEYS + KEYS // 100, count)
    times = random.integers(end - DAYS * DAY, end, count)
    columns = {"k": pyarrow.array(keys), "ts": pyarrow.array(times).cast(TIME)}
    parquet.write_table(pyarrow.table(columns), path, compression="zstd")
