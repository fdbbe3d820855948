"""Online reads of latest and windowed features, from memory and through Redis, beside what bounds them."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import grpc

from bench import events, load
from bench.online import CHECK, ECHO, GET_ONLINE, ONLINE, messages
from bench.plan import Plan
from bench.redis import Redis
from bench.report import Row, say
from bench.server import Server

CONNECTIONS = 16
ATTEMPTS = 3
MANY = 100
FEATURES = events.READS_FEATURES


def rows_of(store: str) -> list[str]:
    return [f"reads_{store}_{name}" for name in ("rest", "grpc", "rest_100", "grpc_100")]


ROWS = {"memory": rows_of("memory"), "redis": [*rows_of("redis"), "redis_hmget"]}


def fed(plan: Plan, folder: Path, views: str, count: int, **settings: str) -> tuple[Server, Path]:
    """A platform that has events of every key."""
    file = folder / "readings.parquet"
    events.write_events(file, count)
    server = plan.server(folder, events.SOURCE + views)
    server.environment = settings
    server.start()
    try:
        server.apply()
        server.upload("readings", file)
    except BaseException:
        server.stop()
        raise
    return server, file


def mistake(server: Server, file: Path) -> str:
    """What 200 keys read wrongly, by DuckDB's answers as of the instant that the platform names."""
    keys = list(range(0, events.KEYS, 50))
    answer = server.post(ONLINE, {"features": FEATURES, "entities": [{"k": key} for key in keys]})
    columns = ", ".join(f"arg_max({name}, ts)" for name in events.NAMES[:8])
    hours = f"epoch_us(TIMESTAMPTZ '{answer['time']}') // {events.HOUR}"

    def since(length: int) -> str:
        return f"epoch_us(ts) >= ({hours} - {length // events.HOUR}) * {events.HOUR}"

    with duckdb.connect() as database:
        found = database.execute(
            f"""SELECT k, {columns}, count(*) FILTER ({since(7 * events.DAY)}),
                avg(c8) FILTER ({since(events.DAY)})
                FROM read_parquet('{file}') WHERE k % 50 = 0 GROUP BY k"""
        ).fetchall()
    expected = {row[0]: list(row[1:]) for row in found}
    for key, row in zip(keys, answer["rows"], strict=True):
        want = expected[key]
        got = row["values"]
        close = got[9] == want[9] or abs(got[9] - want[9]) <= 1e-9 * abs(want[9])
        if got[:9] != want[:9] or not close:
            return f"{key} reads {got}, expected {want}"
    return ""


def rest(plan: Plan, server: Server, store: str, wrong: str, share: float) -> Iterator[Row]:
    body = json.dumps({"features": FEATURES, "entities": [{"k": "KEY"}]}).replace('"KEY"', "KEY")
    seconds = plan.seconds(3)

    def ask(path: str) -> load.Load:
        return load.ask(server, path, body, events.KEYS, CONNECTIONS, seconds)

    ask(ONLINE)
    say(f"reads_{store}_rest")
    raw, _, ours, _ = load.best_of(ATTEMPTS, lambda: ask(ECHO), lambda: ask(ONLINE))
    yield Row(
        f"reads_{store}_rest",
        f"{store}, REST, 1 entity × 10 features (2 windowed), {CONNECTIONS} connections",
        ours.per_second,
        "requests/s",
        raw.per_second,
        "echo",
        target_ratio=share,
        wrong=wrong,
        note=f"{ours.describe()}; echo {raw.describe()}",
    )


def grpc_rows(
    plan: Plan, server: Server, store: str, wrong: str, share: float, many: float
) -> Iterator[Row]:
    wire = messages(plan)
    seconds = plan.seconds(3)

    def request(count: int) -> tuple[bytes, int]:
        message = wire.GetOnlineRequest(features=FEATURES)
        for key in range(0, count * 7, 7):
            message.entities.add().values["k"].int64_value = key
        return message.SerializeToString()

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        health = channel.unary_unary(CHECK)(b"", timeout=10)
        seen = channel.unary_unary(GET_ONLINE)(request(1), timeout=10)
    cells = wire.GetOnlineResponse.FromString(seen).rows[0].values
    by_rest = server.online(FEATURES, [{"k": 0}])[0]["values"][:9]
    by_grpc = [cell.value.double_value or cell.value.int64_value for cell in cells][:9]
    if not wrong and by_grpc != by_rest:
        wrong = f"gRPC reads {by_grpc}, REST {by_rest}"

    def call(method: str, message: bytes, size: int | None) -> load.Load:
        return load.call(server, method, message, size, CONNECTIONS, seconds)

    for name, count, raw_wanted in (("grpc", 1, True), ("grpc_100", MANY, False)):
        say(f"reads_{store}_{name}")
        message = request(count)
        raw, _, ours, _ = load.best_of(
            ATTEMPTS,
            lambda: call(CHECK, b"", len(health)),
            lambda message=message: call(GET_ONLINE, message, None),
        )
        yield Row(
            f"reads_{store}_{name}",
            f"{store}, gRPC, {count} {'entity' if count == 1 else 'entities'} × 10 features, "
            f"{CONNECTIONS} connections",
            ours.per_second,
            "calls/s",
            raw.per_second,
            "Health/Check",
            target=None if raw_wanted else many,
            target_ratio=share if raw_wanted else None,
            wrong=wrong,
            note=f"{ours.describe()}; Health/Check {raw.describe()}",
        )


def rest_many(plan: Plan, server: Server, store: str, wrong: str, target: float) -> Iterator[Row]:
    body = json.dumps({"features": FEATURES, "entities": [{"k": "KEY"}] * MANY})
    body = body.replace('"KEY"', "KEY")
    seconds = plan.seconds(3)

    def ask(path: str) -> load.Load:
        return load.ask(server, path, body, events.KEYS, CONNECTIONS, seconds)

    ask(ONLINE)
    say(f"reads_{store}_rest_100")
    raw, _, ours, _ = load.best_of(ATTEMPTS, lambda: ask(ECHO), lambda: ask(ONLINE))
    yield Row(
        f"reads_{store}_rest_100",
        f"{store}, REST, {MANY} entities × 10 features, {CONNECTIONS} connections",
        ours.per_second,
        "requests/s",
        raw.per_second,
        "echo",
        target=target,
        wrong=wrong,
        note=f"{ours.describe()}; echo {raw.describe()}",
    )


def measures(
    plan: Plan, server: Server, file: Path, store: str, shares: tuple[float, float], many: float
) -> Iterator[Row]:
    wrong = mistake(server, file)
    yield from rest(plan, server, store, wrong, shares[0])
    yield from rest_many(plan, server, store, wrong, many)
    yield from grpc_rows(plan, server, store, wrong, shares[1], many)


def from_memory(plan: Plan) -> Iterator[Row]:
    server, file = fed(plan, plan.folder("reads_memory"), events.READS_VIEW, 200_000)
    try:
        yield from measures(plan, server, file, "memory", (0.6, 0.8), 3_000)
    finally:
        server.stop()


def through_redis(plan: Plan) -> Iterator[Row]:
    folder = plan.folder("reads_redis")
    with Redis(folder) as redis:
        server, file = fed(plan, folder, events.READS_VIEW, 200_000, **redis.settings)
        try:
            yield from measures(plan, server, file, "redis", (0.35, 0.65), 1_200)
            key = redis.keys("reads", 1)[0]
            raw = max(redis.hmget(key, events.NAMES, CONNECTIONS) for _ in range(ATTEMPTS))
            yield Row(
                "redis_hmget",
                f"redis-benchmark HMGET of 10 fields, {CONNECTIONS} connections",
                raw,
                "requests/s",
            )
        finally:
            server.stop()


def redis_bytes(plan: Plan) -> Iterator[Row]:
    """10 latest values and 10 windows of one view, with about 20 events in 30 days a key."""
    folder = plan.folder("redis_bytes")
    view = events.LATEST_VIEW.replace("newest", "both") + events.WINDOW_VIEW.split("features:\n")[1]
    with Redis(folder) as redis:
        server, _ = fed(plan, folder, view, 20 * events.KEYS, **redis.settings)
        try:
            keys = redis.keys("both", 500)
            sizes = [int(redis.command("MEMORY", "USAGE", key, "SAMPLES", "0")) for key in keys]
            states = [int(redis.command("HSTRLEN", key, "#state")) for key in keys]
        finally:
            server.stop()
    yield Row(
        "redis_bytes",
        "Redis, one entity: 10 latest and 10 window features, 20 events in 30 days",
        sum(sizes) / len(sizes),
        "bytes",
        more_is_better=False,
        note=f"of which #state {sum(states) / len(states):,.0f} bytes (MEMORY USAGE of 500 keys)",
    )
