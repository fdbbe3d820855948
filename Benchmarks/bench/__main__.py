"""Takes the measures one after the other, each on a platform of its own, and prints the table."""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench import (
    backfill,
    database,
    history,
    ingest,
    lifecycle,
    native,
    online,
    reads,
    report,
    stream,
)
from bench.plan import Measure, Plan
from bench.report import Row, say

MEASURES = [
    Measure("start", ["start", "idle_memory"], lifecycle.start, "time to ready, idle memory"),
    Measure("ingest_parquet", ["ingest_parquet"], ingest.ingest_parquet, "a file of events"),
    Measure("push_batch100", ["push_batch100"], ingest.push_batch100, "pushes of 100 events"),
    Measure("push_single_64", ["push_single_64"], ingest.push_single_64, "pushes of one event"),
    Measure("kafka", ["kafka_memory", "kafka_redis"], stream.kafka, "a topic into both stores"),
    Measure("kafka_latency", ["kafka_p99"], stream.kafka_latency, "event to readable"),
    Measure(
        "online_rest", ["online_rest", "online_rest_p50"], online.online_rest, "online read, REST"
    ),
    Measure(
        "online_grpc", ["online_grpc", "online_grpc_p50"], online.online_grpc, "online read, gRPC"
    ),
    Measure("reads_memory", reads.ROWS["memory"], reads.from_memory, "online reads from memory"),
    Measure("reads_redis", reads.ROWS["redis"], reads.through_redis, "online reads through Redis"),
    Measure("redis_bytes", ["redis_bytes"], reads.redis_bytes, "bytes of an entity in Redis"),
    Measure("predict", ["predict", "predict_p50"], online.predict, "prediction by entity key"),
    Measure(
        "native",
        ["predict_native", "predict_native_p50"],
        native.native,
        "prediction by a native engine",
    ),
    Measure(
        "history", ["history_latest", "history_window"], history.history, "point-in-time joins"
    ),
    Measure("backfill", ["backfill"], backfill.backfill, "online state computed anew"),
    Measure(
        "database_service",
        ["database_writes", "database_reads"],
        database.database_service,
        "the database service through Redis",
    ),
    Measure(
        "history_curve",
        list(history.CURVE),
        history.curve,
        "window history over ever more events",
    ),
    Measure(
        "restore",
        ["restore_snapshot", "restore_warehouse"],
        lifecycle.restore,
        "restart of a full platform",
    ),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="Benchmarks/run",
        description="Measures .build/release/martlet beside the raw limits of this machine.",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a measure or row; repeatable"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--list", action="store_true", help="list the measures and end")
    parser.add_argument("--keep", action="store_true", help="keep the data and the logs")
    options = parser.parse_args()
    known = {name for measure in MEASURES for name in [measure.name, *measure.rows]}
    if unknown := set(options.only) - known:
        parser.error(f"unknown measure {', '.join(sorted(unknown))}; see --list")
    if not 0 < options.scale <= 10:
        parser.error("--scale must be above 0 and at most 10")
    return options


def take(plan: Plan, rows: list[Row], errors: dict[str, str]) -> None:
    for measure in MEASURES:
        if not measure.is_wanted(plan.only):
            continue
        begin = time.perf_counter()
        say(f"── {measure.name}: {measure.what}")
        try:
            for row in measure.take(plan):
                rows.append(row)
                say("  ".join(cell for cell in row.cells() if cell))
        except Exception as error:  # noqa: BLE001, the other measures go on
            errors[measure.name] = f"{type(error).__name__}: {error}"
            say(f"{measure.name} failed")
            traceback.print_exc()
        say(f"{measure.name} took {time.perf_counter() - begin:.0f} s")
        if not plan.keeps_files:
            for folder in plan.scratch.iterdir():
                shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    options = arguments()
    if options.list:
        for measure in MEASURES:
            print(f"{measure.name:16} {measure.what} ({', '.join(measure.rows)})")
        return 0
    root = Path(__file__).resolve().parents[2]
    if not (root / ".build/release/martlet").exists():
        say("there is no .build/release/martlet; `make bench` builds it")
        return 1
    facts = report.machine(root) | {"scale": options.scale}
    rows: list[Row] = []
    errors: dict[str, str] = {}
    scratch = Path(tempfile.mkdtemp(prefix="martlet-bench-"))
    try:
        take(Plan(root, scratch, options.scale, set(options.only), options.keep), rows, errors)
    finally:
        if options.keep:
            say(f"data and logs are in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
        report.write(root / ".build/bench.json", facts, rows, errors)
    print(f"{facts['processor']}, {facts['cores']} cores, scale {options.scale:g}")
    for line in report.table(rows):
        print(line)
    for name, error in errors.items():
        print(f"  {name} FAILED: {error.splitlines()[0]}")
    return 1 if errors or any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
