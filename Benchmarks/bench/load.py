"""Load from wrk (REST) and h2load (gRPC), bounded in count and time, from this machine to itself."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy

from bench.server import BenchError, Server

HERE = Path(__file__).parent
# Longest that one run of a load generator may take.
LONGEST_SECONDS = 120


@dataclass
class Load:
    """What one run of a load generator saw."""

    per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    requests: int

    def describe(self) -> str:
        return f"p50 {self.p50_milliseconds:.3g} ms, p99 {self.p99_milliseconds:.3g} ms"


def best_of(
    attempts: int, raw: Callable[[], Load], ours: Callable[[], Load]
) -> tuple[Load, Load, Load, Load]:
    """The fastest and the quickest run of each, taken in turns: whatever else ran disturbs both."""
    raws, mine = [], []
    for _ in range(attempts):
        raws.append(raw())
        mine.append(ours())
    return (*_best(raws), *_best(mine))


def _best(runs: list[Load]) -> tuple[Load, Load]:
    fastest = max(runs, key=lambda run: run.per_second)
    return fastest, min(runs, key=lambda run: run.p50_milliseconds)


@dataclass
class Pushed:
    """What a run of pushes saw; `pending` requests were sent and not answered."""

    events_per_second: float
    acknowledged: int
    refused: int
    pending: int
    p50_milliseconds: float
    p99_milliseconds: float
    complaint: str


def run(arguments: list[str], **variables: str) -> tuple[str, str]:
    try:
        ended = subprocess.run(
            arguments,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS + 30,
            check=False,
        )
    except FileNotFoundError:
        package = {"h2load": "nghttp2-client"}.get(arguments[0], arguments[0])
        raise BenchError(f"{arguments[0]} is missing; install the package {package}") from None
    if ended.returncode:
        raise BenchError(f"{arguments[0]} failed: {(ended.stderr or ended.stdout).strip()[-400:]}")
    return ended.stdout, ended.stderr


def wrk(server: Server, script: str, connections: int, seconds: float, **variables: str):
    """The JSON line that the script prints at the end, and what it complained about."""
    output, complaint = run(
        [
            "wrk",
            "--threads=1",
            f"--connections={connections}",
            f"--duration={max(1, round(seconds))}s",
            "--timeout=30s",
            f"--script={HERE / script}",
            server.address,
        ],
        **variables,
    )
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchError(f"wrk told nothing: {output[-300:]} {complaint[-300:]}")
    return json.loads(lines[-1]), complaint.strip()


def ask(server: Server, path: str, body: str, keys: int, connections: int, seconds: float) -> Load:
    """Posts `body`, with KEY replaced by random keys, for `seconds`."""
    said, _ = wrk(
        server, "ask.lua", connections, seconds, ASK_PATH=path, ASK_BODY=body, ASK_KEYS=str(keys)
    )
    if said["errors"]:
        raise BenchError(f"{said['errors']} of {said['requests']} requests to {path} failed")
    return Load(
        said["requests"] / said["seconds"],
        said["p50_us"] / 1000,
        said["p99_us"] / 1000,
        said["requests"],
    )


def push(
    server: Server, path: str, requests: int, rows: int, connections: int, name: str, keys: int
) -> Pushed:
    """Pushes exactly `requests` requests of `rows` new events each, unless time runs out."""
    said, complaint = wrk(
        server,
        "push.lua",
        connections,
        LONGEST_SECONDS,
        PUSH_PATH=path,
        PUSH_REQUESTS=str(requests),
        PUSH_ROWS=str(rows),
        PUSH_RUN=name,
        PUSH_KEYS=str(keys),
    )
    return Pushed(
        said["acknowledged"] / said["seconds"],
        said["acknowledged"],
        said["refused"],
        said["sent"] - said["answered"],
        said["p50_us"] / 1000,
        said["p99_us"] / 1000,
        complaint,
    )


def call(
    server: Server, method: str, message: bytes, answer_bytes: int, connections: int, seconds: float
) -> Load:
    """Calls a gRPC method with one prepared message, one call under way on each connection."""
    body = server.folder / "message"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    rehearsal = _h2load(server, method, body, answer_bytes, connections, 200 * connections)
    return _h2load(
        server, method, body, answer_bytes, connections, int(rehearsal.per_second * seconds)
    )


def _h2load(
    server: Server, method: str, body: Path, answer_bytes: int, connections: int, count: int
) -> Load:
    log = server.folder / "h2load.log"
    log.unlink(missing_ok=True)
    output, _ = run(
        [
            "h2load",
            f"--requests={count}",
            f"--clients={connections}",
            "--max-concurrent-streams=1",
            "--threads=1",
            f"--data={body}",
            f"--log-file={log}",
            "--header=content-type: application/grpc",
            "--header=te: trailers",
            f"http://127.0.0.1:{server.grpc_port}{method}",
        ]
    )
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
    succeeded = re.search(r"(\d+) succeeded", output)
    data = re.search(r"\((\d+)\) data", output)
    if not (rate and succeeded and data):
        raise BenchError(f"h2load told nothing: {output[-400:]}")
    # A call that failed is an answer of status 200 too, but one without a message.
    if int(succeeded[1]) != count or int(data[1]) != count * (answer_bytes + 5):
        raise BenchError(
            f"{method}: {succeeded[1]} of {count} calls answered with {data[1]} bytes in all, "
            f"expected {answer_bytes + 5} each"
        )
    times = numpy.loadtxt(log, usecols=2) / 1000
    return Load(
        float(rate[1]),
        float(numpy.percentile(times, 50)),
        float(numpy.percentile(times, 99)),
        count,
    )
