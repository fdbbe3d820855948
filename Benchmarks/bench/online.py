"""Online reads and predictions by entity key, beside an echo on the same server."""

import importlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import resources
from types import ModuleType

import grpc
from grpc_tools import protoc

from bench import events, load, peers
from bench.plan import Plan
from bench.report import Row, say
from bench.server import BenchError, Server

ONLINE = "/api/v1/features/online"
ECHO = "/api/v1/echo"
GET_ONLINE = "/martlet.v1.FeatureStore/GetOnline"
CHECK = "/grpc.health.v1.Health/Check"
ATTEMPTS = 3


def fed_server(plan: Plan, name: str) -> tuple[Server, dict[int, list[float]]]:
    """A platform with events of every key, and the newest values of some."""
    folder = plan.folder(name)
    file = folder / "readings.parquet"
    events.write_events(file, 200_000)
    server = plan.server(folder, events.SOURCE + events.LATEST_VIEW)
    server.start()
    try:
        server.apply()
        server.upload("readings", file)
    except BaseException:
        server.stop()
        raise
    return server, peers.newest_values(file, list(range(0, events.KEYS, 50)))


def online_rest(plan: Plan) -> Iterator[Row]:
    server, expected = fed_server(plan, "online_rest")
    body = json.dumps({"features": events.LATEST_FEATURES, "entities": [{"k": "KEY"}]})
    body = body.replace('"KEY"', "KEY")
    with_server = f"{ONLINE}, 1 entity × 10 features"
    try:
        keys = sorted(expected)
        rows = server.online(events.LATEST_FEATURES, [{"k": key} for key in keys])
        wrong = next(
            (
                f"{key} reads {row['values']}, expected {expected[key]}"
                for key, row in zip(keys, rows, strict=True)
                if row["values"] != expected[key]
            ),
            "",
        )
        yield from rest_rows(
            plan, server, "online_rest", ONLINE, body, events.KEYS, with_server, wrong, 18_000, 0.3
        )
    finally:
        server.stop()


def rest_rows(
    plan: Plan,
    server: Server,
    name: str,
    path: str,
    body: str,
    keys: int,
    what: str,
    wrong: str,
    target: float | None,
    target_milliseconds: float | None,
) -> Iterator[Row]:
    """Throughput from 16 connections and the best median on one, each beside the echo of the same body."""
    seconds = plan.seconds(3)
    for address in (ECHO, path):
        load.ask(server, address, body, keys, 16, 1)
    say(f"{name}: 16 connections")
    raw, _, ours, _ = load.best_of(
        ATTEMPTS,
        lambda: load.ask(server, ECHO, body, keys, 16, seconds),
        lambda: load.ask(server, path, body, keys, 16, seconds),
    )
    yield Row(
        name,
        f"{what}, 16 connections",
        ours.per_second,
        "requests/s",
        raw.per_second,
        "echo",
        target,
        wrong=wrong,
        note=f"16 connections: {ours.describe()}; echo {raw.describe()}",
    )
    say(f"{name}: 1 connection")
    _, raw, _, ours = load.best_of(
        ATTEMPTS,
        lambda: load.ask(server, ECHO, body, keys, 1, seconds),
        lambda: load.ask(server, path, body, keys, 1, seconds),
    )
    yield Row(
        f"{name}_p50",
        "the same, 1 connection, median",
        ours.p50_milliseconds,
        "ms",
        raw.p50_milliseconds,
        "echo",
        target_milliseconds,
        more_is_better=False,
        note=f"1 connection: {ours.describe()}; echo {raw.describe()}",
    )


def messages(plan: Plan) -> ModuleType:
    """The Python classes of martlet.v1, generated from proto/ for this run."""
    output = plan.folder("protos")
    status = protoc.main(
        [
            "protoc",
            f"-I{plan.root / 'proto'}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
            f"--python_out={output}",
            "martlet/v1/martlet.proto",
            "martlet/v1/jobs.proto",
            "martlet/v1/monitoring.proto",
            "martlet/v1/registry.proto",
            "martlet/v1/rollout.proto",
        ]
    )
    if status:
        raise BenchError("protoc failed on proto/martlet/v1/martlet.proto")
    sys.path.insert(0, str(output))
    try:
        return importlib.import_module("martlet.v1.martlet_pb2")
    finally:
        sys.path.remove(str(output))


def online_grpc(plan: Plan) -> Iterator[Row]:
    wire = messages(plan)
    server, expected = fed_server(plan, "online_grpc")
    try:
        key = sorted(expected)[1]
        request = wire.GetOnlineRequest(features=events.LATEST_FEATURES)
        request.entities.add().values["k"].int64_value = key
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            answer = channel.unary_unary(GET_ONLINE)(request.SerializeToString(), timeout=10)
            health = channel.unary_unary(CHECK)(b"", timeout=10)
        values = [
            cell.value.double_value
            for cell in wire.GetOnlineResponse.FromString(answer).rows[0].values
        ]
        wrong = "" if values == expected[key] else f"{key} reads {values}, expected {expected[key]}"
        seconds = plan.seconds(3)
        message = request.SerializeToString()
        say("online_grpc: 16 connections")
        raw, _, ours, _ = load.best_of(
            ATTEMPTS,
            lambda: load.call(server, CHECK, b"", len(health), 16, seconds),
            lambda: load.call(server, GET_ONLINE, message, None, 16, seconds),
        )
        yield Row(
            "online_grpc",
            "FeatureStore/GetOnline, 1 entity × 10 features, 16 connections",
            ours.per_second,
            "calls/s",
            raw.per_second,
            "Health/Check",
            8_000,
            wrong=wrong,
            note=f"16 connections: {ours.describe()}; Health/Check {raw.describe()}",
        )
        say("online_grpc: 1 connection")
        _, raw, _, ours = load.best_of(
            ATTEMPTS,
            lambda: load.call(server, CHECK, b"", len(health), 1, seconds),
            lambda: load.call(server, GET_ONLINE, message, None, 1, seconds),
        )
        yield Row(
            "online_grpc_p50",
            "the same, 1 connection, median",
            ours.p50_milliseconds,
            "ms",
            raw.p50_milliseconds,
            "Health/Check",
            0.55,
            more_is_better=False,
            note=f"1 connection: {ours.describe()}; Health/Check {raw.describe()}",
        )
    finally:
        server.stop()


def predict(plan: Plan) -> Iterator[Row]:
    customers = 500 if plan.scale < 1 else 2_000
    folder = plan.folder("predict")
    shutil.copytree(plan.root / "examples/shop", folder / "project", dirs_exist_ok=True)
    with plan.server(folder, "") as server:
        server.apply()
        say(f"simulating a shop of {customers} customers")
        said = json.loads(
            server.command(
                "simulate", "--days", "60", "--customers", str(customers), "--bad", "0", "--json"
            )
        )
        begin = time.perf_counter()
        server.command("train", "churn", "--json")
        say(f"trained in {time.perf_counter() - begin:.1f} s")
        server.command("models", "promote", "churn", "1", "--json")
        path = "/api/v1/models/churn/predict"
        answer = server.post(path, {"rows": [{"customer_id": 7}]})
        value = answer["predictions"][0]["value"]
        wrong = "" if isinstance(value, float) and 0 <= value <= 1 else f"predicts {value}"
        rows = rest_rows(
            plan,
            server,
            "predict",
            path,
            '{"rows":[{"customer_id":KEY}]}',
            customers,
            "churn by entity key, LightGBM, 11 features",
            wrong,
            None,
            None,
        )
        for row in rows:
            row.details |= {"events": said.get("events"), "answer": answer}
            yield row
