"""When the client tries again, and that nothing is done twice by it.

Refusals and broken connections come from a relay in front of a real platform, which is told what
to do with each connection; the platform behind it does what it always does.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from client_side import NOW, connected, write_project
from running_platform import RunningPlatform, needs_binary

import martlet
from martlet.calls.events import RecordNumbers
from martlet.retries import Failure, RetryPolicy

# MARK: the policy


def longest(_: float, high: float) -> float:
    return high


@pytest.mark.parametrize(
    ("failure", "repeatable", "again"),
    [
        (Failure.NEVER_SENT, False, True),
        (Failure.NEVER_SENT, True, True),
        (Failure.REFUSED, False, True),
        (Failure.REFUSED, True, True),
        (Failure.AWAY, False, False),
        (Failure.AWAY, True, True),
        (Failure.LOST, False, False),
        (Failure.LOST, True, True),
        (Failure.FINAL, False, False),
        (Failure.FINAL, True, False),
    ],
)
def test_only_what_cannot_be_done_twice_by_it_is_tried_again(
    failure: Failure, repeatable: bool, again: bool
) -> None:
    error = martlet.UnavailableError("away")
    wait = RetryPolicy().wait(1, failure, error, repeatable=repeatable, uniform=longest)
    assert (wait is not None) == again


def test_waits_double_up_to_a_cap_and_end_with_the_last_attempt() -> None:
    policy = RetryPolicy(attempts=6, base=0.5, cap=3.0)
    error = martlet.OverloadedError("busy")
    waits = [
        policy.wait(n, Failure.REFUSED, error, repeatable=True, uniform=longest)
        for n in range(1, 7)
    ]
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0, None]


def test_waits_are_random_over_the_whole_interval() -> None:
    uniform = random.Random(3).uniform
    error = martlet.OverloadedError("busy")
    waits = [
        RetryPolicy(base=1.0).wait(1, Failure.REFUSED, error, repeatable=True, uniform=uniform)
        for _ in range(1_000)
    ]
    assert min(waits) < 0.01 and max(waits) > 0.99 and 0.45 < sum(waits) / 1_000 < 0.55


def test_a_time_that_the_platform_names_is_kept_to_unless_it_is_long() -> None:
    def wait(seconds: float) -> float | None:
        error = martlet.OverloadedError("busy", retry_after=seconds)
        return RetryPolicy().wait(1, Failure.REFUSED, error, repeatable=True, uniform=longest)

    assert wait(2.0) == 2.1
    assert wait(31.0) is None


# MARK: record numbers


def test_record_numbers_are_unique_over_threads() -> None:
    numbers = RecordNumbers()
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: numbers.take(3), range(2_000)))
    assert len({client for client, _ in taken}) == 1
    assert sorted(first for _, first in taken) == list(range(1, 6_001, 3))


def test_a_forked_process_numbers_under_a_name_of_its_own() -> None:
    numbers = RecordNumbers()
    parent, _ = numbers.take(1)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, numbers.take(1)[0].encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100).decode() != parent
    assert numbers.take(1) == (parent, 2)


# MARK: with a platform

Act = Callable[[socket.socket, socket.socket], None]


def shovel(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def pass_on(client: socket.socket, platform: socket.socket) -> None:
    there = threading.Thread(target=shovel, args=(client, platform))
    there.start()
    shovel(platform, client)
    there.join()


def lose_the_answer(client: socket.socket, platform: socket.socket) -> None:
    """The platform does what was asked; the caller never hears of it."""
    there = threading.Thread(target=shovel, args=(client, platform))
    there.start()
    platform.recv(65_536)
    client.shutdown(socket.SHUT_RDWR)
    there.join()


def refuse(status: str, code: str, retry_after: float) -> Act:
    body = (
        f'{{"error": {{"code": "{code}", "message": "not now", "retryable": true, '
        f'"retry_after_seconds": {retry_after}}}}}'
    )
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"

    def act(client: socket.socket, platform: socket.socket) -> None:
        client.recv(65_536)
        client.sendall((head + body).encode())

    return act


def garble(client: socket.socket, platform: socket.socket) -> None:
    client.recv(65_536)
    text = "<html>a proxy</html>"
    head = f"HTTP/1.1 502 Bad Gateway\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
    client.sendall((head + text).encode())


class Relay:
    """Listens, and does with one connection after the other as it is told; then passes on."""

    def __init__(self, http: str) -> None:
        host, _, port = http.rpartition(":")
        self.platform = (host, int(port))
        self.acts: list[Act] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                act = self.acts.pop(0) if self.acts else pass_on
                thread = threading.Thread(target=self._serve, args=(client, act))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, act: Act) -> None:
        with client, socket.create_connection(self.platform) as platform:
            self._open += [client, platform]
            with suppress(OSError):
                act(client, platform)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def relay(client_platform: RunningPlatform) -> Iterator[Relay]:
    relay = Relay(client_platform.http)
    try:
        yield relay
    finally:
        relay.close()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def visits(customer: int, count: int) -> list[dict[str, Any]]:
    return [{"customer_id": customer, "pages": n, "at": NOW} for n in range(count)]


@needs_binary
def test_a_push_whose_answer_is_lost_counts_once(kind: str, relay: Relay, customer: int) -> None:
    relay.acts = [lose_the_answer, lose_the_answer]
    with connected(kind, relay.address) as client:
        receipt = client.push("visits", visits(customer, 3))
        assert relay.connections == 3
        assert (receipt.accepted, receipt.duplicates) == (0, 3)
        answer = client.get_online(["visits.count_1d"], {"customer_id": customer})
        assert answer[0]["visits.count_1d"] == 3


@needs_binary
@pytest.mark.parametrize(
    ("status", "code"), [("429 Too Many Requests", "overloaded"), ("503 Away", "unavailable")]
)
def test_a_refused_read_is_sent_again(kind: str, relay: Relay, status: str, code: str) -> None:
    relay.acts = [refuse(status, code, 0.0)] * 3
    with connected(kind, relay.address) as client:
        assert client.status()["project"] == "client_tests"
    assert relay.connections == 4


@needs_binary
def test_after_the_last_attempt_the_refusal_is_raised(kind: str, relay: Relay) -> None:
    relay.acts = [refuse("429 Too Many Requests", "overloaded", 0.01)] * 9
    with (
        connected(kind, relay.address, retries=2) as client,
        pytest.raises(martlet.OverloadedError, match="not now") as caught,
    ):
        client.status()
    assert caught.value.retryable and caught.value.retry_after == 0.01
    assert relay.connections == 3


@needs_binary
def test_what_may_have_been_done_and_is_not_repeatable_is_not_sent_again(
    kind: str, relay: Relay, client_platform: RunningPlatform
) -> None:
    relay.acts = [lose_the_answer]
    with connected(kind, relay.address) as client:
        with pytest.raises(martlet.UnavailableError, match="broke during POST"):
            client.apply(client_platform.folder)
        assert relay.connections == 1
        relay.acts = [refuse("429 Too Many Requests", "overloaded", 0.0)]
        assert client.apply(client_platform.folder).version


@needs_binary
def test_an_answer_that_is_not_the_platforms_is_told_as_that(kind: str, relay: Relay) -> None:
    relay.acts = [garble]
    with connected(kind, relay.address) as client:
        with pytest.raises(martlet.UnavailableError, match=r"check the address.*a proxy"):
            client.status()
        assert client.status()["project"] == "client_tests"


def test_a_platform_that_does_not_answer_in_time_is_given_up(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with connected(kind, address, timeout=0.05) as client:
            with pytest.raises(martlet.DeadlineExceededError, match="did not answer") as caught:
                client.status()
            assert isinstance(caught.value, TimeoutError)


def test_without_a_platform_the_error_says_how_to_start_one(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        connected(kind, f"http://127.0.0.1:{port}", retries=1) as client,
        pytest.raises(martlet.UnavailableError, match="martlet up") as caught,
    ):
        client.get_online(["orders.amount"], {"customer_id": 1})
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert caught.value.status is None


@needs_binary
def test_one_client_outlives_a_restart_of_the_platform(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    write_project(folder)
    first = RunningPlatform(folder)
    with connected(kind, first.address, retries=0) as client:
        try:
            client.apply(folder)
            client.push("visits", visits(1, 2))
        finally:
            assert first.stop() == 0
        with pytest.raises(martlet.UnavailableError, match="martlet up"):
            client.get_online(["visits.count_1d"], {"customer_id": 1})
        port = first.http.rpartition(":")[2]
        second = RunningPlatform(folder, {"MARTLET_SERVER_HTTP_PORT": port})
        try:
            answer = client.get_online(["visits.count_1d"], {"customer_id": 1})
            assert answer[0]["visits.count_1d"] == 2
        finally:
            assert second.stop() == 0


@needs_binary
def test_a_platform_with_a_token_serves_who_has_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    write_project(folder)
    running = RunningPlatform(folder, {"MARTLET_SERVER_TOKEN": "open sesame"})
    try:
        for wrong in (None, "open barley"):
            with (
                connected(kind, running.address, token=wrong) as client,
                pytest.raises(martlet.UnauthenticatedError, match="MARTLET_SERVER_TOKEN") as caught,
            ):
                client.status()
            assert caught.value.status == 401 and "barley" not in str(caught.value)
        with connected(kind, running.address, token="open sesame") as client:
            assert client.status()
        monkeypatch.setenv("MARTLET_SERVER_TOKEN", "open sesame")
        monkeypatch.chdir(folder)
        with connected(kind) as client:
            assert client.address == running.address
            assert client.status()
            assert "sesame" not in repr(client)
    finally:
        assert running.stop() == 0


@needs_binary
def test_many_threads_share_one_client(client_platform: RunningPlatform, customer: int) -> None:
    with martlet.Client(client_platform.address) as client, ThreadPoolExecutor(8) as pool:
        receipts = list(
            pool.map(lambda n: client.push("visits", visits(customer, n % 5)), range(100))
        )
        assert sum(receipt.accepted for receipt in receipts) == 200
        answer = client.get_online(["visits.count_1d"], {"customer_id": customer})
    assert answer[0]["visits.count_1d"] == 200
