"""A `redis-server` of one measure, on a free port of 127.0.0.1."""

import csv
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from bench.load import run
from bench.server import BenchError

READY_SECONDS = 20


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Redis:
    """In memory only; ended with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        return {"MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": self.address}

    def __enter__(self) -> Self:
        log = (self.folder / "redis.log").open("ab")
        try:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except FileNotFoundError:
            raise BenchError("redis-server is missing; install the package redis-server") from None
        finally:
            log.close()
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                if self.command("PING") == "PONG":
                    return self
            except BenchError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.__exit__()
                    raise
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def command(self, *words: str) -> str:
        return run(["redis-cli", "-p", str(self.port), *words])[0].strip()

    def keys(self, view: str, count: int) -> list[str]:
        """Some keys of a view."""
        found = self.command("--scan", "--pattern", f"*:{view}@*").splitlines()
        if not found:
            raise BenchError(f"Redis has no keys of view {view}")
        return found[:count]

    def hmget(self, key: str, fields: list[str], connections: int) -> float:
        """Answers a second of redis-benchmark's own `HMGET`, without pipelining."""
        arguments = ["redis-benchmark", "-p", str(self.port), "-c", str(connections)]
        said, _ = run([*arguments, "-n", "100000", "--csv", "HMGET", key, *fields])
        rows = list(csv.DictReader(said[said.index('"test"') :].splitlines()))
        if not rows or not re.fullmatch(r"[\d.]+", rows[-1]["rps"]):
            raise BenchError(f"redis-benchmark told nothing: {said[-300:]}")
        return float(rows[-1]["rps"])
