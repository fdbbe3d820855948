"""How long one window feature over all the events takes to be computed anew."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from bench import events, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import BenchError, Server

# Longer than the events go back, so that the answer does not move with the clock.
VIEW = """\
  everything:
    entity: item
    source: readings
    features:
      sum_c0: {sum: c0, window: 60d}
"""
FEATURES = ["everything.sum_c0"]


def backfill(plan: Plan) -> Iterator[Row]:
    count = plan.scaled(10_000_000)
    folder = plan.folder("backfill")
    file = folder / "readings.parquet"
    say(f"writing {count:,} events")
    events.write_events(file, count)
    keys = list(range(0, events.KEYS, 10))
    server = plan.server(folder, events.SOURCE + VIEW)
    with server:
        server.apply()
        say("ingesting them")
        server.upload("readings", file)
        seconds = run(server)
        answers = server.online(FEATURES, [{"k": key} for key in keys])
    database = folder / "raw.duckdb"
    peers.insert_events(database, file)
    raw, sums = tiles(database)
    wrong = ""
    for key, answer in zip(keys, answers, strict=True):
        expected = sums.get(key, 0.0)
        if abs(answer["values"][0] - expected) > 1e-9 * abs(expected):
            wrong = f"key {key}: {answer['values'][0]} in place of {expected}"
    yield Row(
        "backfill",
        f"one window feature over {count:,} events, job filed to job done",
        seconds,
        "s",
        raw,
        "DuckDB sums by key and day",
        10,
        more_is_better=False,
        wrong=wrong,
        note=f"{count / seconds:,.0f} events/s",
    )


def run(server: Server) -> float:
    begin = time.perf_counter()
    job = server.post("/api/v1/views/everything/backfill", {})
    while job["state"] in ("PENDING", "RUNNING"):
        time.sleep(0.02)
        status, answer = server.request("GET", f"/api/v1/jobs/{job['id']}")
        if status != 200:
            raise BenchError(f"the job cannot be read: {status}")
        job = json.loads(answer)
    seconds = time.perf_counter() - begin
    if job["state"] != "COMPLETED":
        raise BenchError(f"the backfill ended as {job['state']}: {job['error']}")
    return seconds


def tiles(database: Path) -> tuple[float, dict[int, float]]:
    """What DuckDB needs for the same tiles, and the sum of each key."""
    with duckdb.connect(str(database), read_only=True) as connection:
        begin = time.perf_counter()
        connection.execute(
            "SELECT k, epoch_us(time_bucket(INTERVAL 1 DAY, ts)), count(*), sum(c0), min(c0), max(c0) "
            "FROM readings GROUP BY ALL"
        ).fetchall()
        seconds = time.perf_counter() - begin
        rows = connection.execute("SELECT k, fsum(c0) FROM readings GROUP BY k").fetchall()
    return seconds, dict(rows)
