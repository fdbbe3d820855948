"""A worker on another machine: dials in over TLS with a token and answers like the local ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_side import put_in_production, write_project
from running_platform import CHECKOUT, RunningPlatform, needs_binary

import martlet

TOKEN = "a-token-that-only-workers-have"
PATIENCE_SECONDS = 60

pytestmark = needs_binary


class Remote:
    """A worker process that finds the platform by its address only."""

    def __init__(self, address: str, authority: Path, folder: Path, token: str = TOKEN) -> None:
        # Nothing but the worker's package is on its path.
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "martlet_worker",
                "--connect",
                address,
                "--authority",
                str(authority),
                "--name",
                "elsewhere",
            ],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(CHECKOUT / "python"),
                "MARTLET_WORKER_TOKEN": token,
            },
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class House:
    """A platform with a model in production, and the address for workers of other machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "platform.pem"
        key = folder / "platform.key"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout",
                str(key),
                "-out",
                str(self.authority),
            ],
            check=True,
            capture_output=True,
        )
        write_project(folder)
        self.running = RunningPlatform(
            folder,
            {
                "MARTLET_WORKERS_REMOTE_ADDRESS": "127.0.0.1:0",
                "MARTLET_WORKERS_REMOTE_CERTIFICATE_FILE": str(self.authority),
                "MARTLET_WORKERS_REMOTE_KEY_FILE": str(key),
                "MARTLET_WORKERS_REMOTE_TOKEN": TOKEN,
                "MARTLET_WORKERS_MAX_PYTHON_WORKERS": "2",
            },
        )
        self.client = martlet.Client(self.running.address)
        self.client.apply(folder, author="tests")

    @property
    def address(self) -> str:
        (found,) = re.findall(
            r"other machines dial in at (127\.0\.0\.1:\d+)", self.running.log.read_text()
        )
        return str(found)

    def workers(self) -> list[dict[str, Any]]:
        return list(self.client.status()["workers"])

    def remote(self) -> list[dict[str, Any]]:
        return [worker for worker in self.workers() if worker["remote"] == "elsewhere"]

    def predict(self) -> float:
        return float(self.client.predict("churn", {"customer_id": 7}).values[0])


def until(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not {what} within {PATIENCE_SECONDS} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("remote") / "project"
    folder.mkdir()
    house = House(folder)
    try:
        put_in_production(house.client)
        yield house
    finally:
        house.client.close()
        status = house.running.stop()
    assert status == 0, house.running.log.read_text()


@pytest.fixture
def elsewhere(house: House, tmp_path: Path) -> Iterator[Remote]:
    remote = Remote(house.address, house.authority, tmp_path)
    try:
        until(
            lambda: any(
                worker["state"] == "ready" and worker["models"] for worker in house.remote()
            ),
            "ready",
        )
        yield remote
    finally:
        remote.close()
        until(lambda: not house.remote(), "gone")


def test_it_answers_while_the_local_worker_does_not(house: House, elsewhere: Remote) -> None:
    before = house.predict()
    (local,) = [
        worker for worker in house.workers() if worker["role"] == "serving" and worker["pid"]
    ]
    os.kill(local["pid"], signal.SIGSTOP)
    try:
        # The first goes to the stopped one, which is given up after its heartbeat's time; the
        # others go elsewhere at once.
        assert [house.predict() for _ in range(20)] == [before] * 20
    finally:
        os.kill(local["pid"], signal.SIGCONT)
    until(
        lambda: any(
            worker["state"] == "ready" and worker["pid"] not in (None, local["pid"])
            for worker in house.workers()
        ),
        "replaced",
    )


def test_calls_go_on_without_it_when_it_is_killed(house: House, elsewhere: Remote) -> None:
    before = house.predict()
    elsewhere.process.kill()
    assert [house.predict() for _ in range(20)] == [before] * 20
    until(lambda: not house.remote(), "gone")


def test_a_wrong_token_is_refused(house: House, tmp_path: Path) -> None:
    remote = Remote(house.address, house.authority, tmp_path, token="a guess")
    _, said = remote.process.communicate(timeout=PATIENCE_SECONDS)
    assert remote.process.returncode == 3
    assert "did not welcome" in said
    assert not house.remote()


def test_a_stop_lets_it_finish_and_go(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    other = House(folder)
    remote = Remote(other.address, other.authority, tmp_path)
    try:
        until(other.remote, "there")
        other.client.close()
        assert other.running.stop() == 0, other.running.log.read_text()
        assert remote.process.wait(PATIENCE_SECONDS) == 0
    finally:
        remote.close()
        other.running.stop()
