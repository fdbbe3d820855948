"""Hello, heartbeat, drain and every way a worker ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from platform_side import Fifo, Platform, table

from martlet_worker import worker_pb2 as pb

ROWS = table({"orders": np.array([1, 2])})


def waiting_transform(started: Fifo, go: Fifo) -> str:
    return f"""
def transform(columns):
    open({str(started.path)!r}, "w").write("started")
    open({str(go.path)!r}).read()
    return {{"orders": columns["orders"] + 1}}
"""


def test_hello_says_who_it_is_and_what_it_can_do(dialled: Platform) -> None:
    hello = dialled.hello()
    assert hello.protocol_version == 1
    assert hello.worker_id == "worker-1"
    assert hello.token == dialled.token
    assert hello.pid == dialled.process.pid
    assert hello.incarnation > 0
    assert hello.memory_bytes > 0
    assert hello.python_version.startswith("3.")
    assert hello.libraries["numpy"] == np.__version__
    assert len(hello.kinds) == 5


def test_the_first_heartbeat_follows_the_welcome(dialled: Platform) -> None:
    hello = dialled.hello()
    dialled.welcome(heartbeat_ms=10)
    dialled.until(lambda: len(dialled.heartbeats) == 3)
    assert [beat.sequence for beat in dialled.heartbeats] == [1, 2, 3]
    assert {beat.incarnation for beat in dialled.heartbeats} == {hello.incarnation}
    assert all(beat.rss_bytes > 2**20 for beat in dialled.heartbeats)


def test_the_heartbeat_goes_on_while_a_task_is_busy(dialled: Platform, tmp_path: Path) -> None:
    dialled.hello()
    dialled.welcome(heartbeat_ms=10)
    started, go = Fifo(tmp_path), Fifo(tmp_path)
    (tmp_path / "slow.py").write_text(waiting_transform(started, go))
    task = pb.Transform(code_path=str(tmp_path / "slow.py"), function="transform", rows=ROWS)
    task_id = dialled.post(transform=task)
    started.wait()

    def beats_while_busy() -> int:
        return sum(beat.busy_task_id == task_id for beat in dialled.heartbeats)

    dialled.until(lambda: beats_while_busy() >= 5)
    go.open()
    assert isinstance(dialled.answer(task_id), pb.Result)
    seen = len(dialled.heartbeats)
    dialled.until(lambda: len(dialled.heartbeats) > seen)
    assert dialled.heartbeats[-1].busy_task_id == ""


def test_drain_finishes_the_tasks_it_has_and_exits_0(platform: Platform, tmp_path: Path) -> None:
    started, go = Fifo(tmp_path), Fifo(tmp_path)
    (tmp_path / "slow.py").write_text(waiting_transform(started, go))
    task = pb.Transform(code_path=str(tmp_path / "slow.py"), function="transform", rows=ROWS)
    running = platform.post(transform=task)
    started.wait()
    queued = platform.post(unload=pb.Unload(model="churn", version=1))
    platform.send(pb.Frame(drain=pb.Drain()))
    go.open()
    assert isinstance(platform.answer(running), pb.Result)
    assert isinstance(platform.answer(queued), pb.Result)
    assert platform.receive() is None
    assert platform.wait_for_exit() == 0


def test_sigterm_lets_the_running_task_finish(platform: Platform, tmp_path: Path) -> None:
    started, go = Fifo(tmp_path), Fifo(tmp_path)
    (tmp_path / "slow.py").write_text(waiting_transform(started, go))
    task = pb.Transform(code_path=str(tmp_path / "slow.py"), function="transform", rows=ROWS)
    running = platform.post(transform=task)
    started.wait()
    platform.process.send_signal(signal.SIGTERM)
    go.open()
    assert isinstance(platform.answer(running), pb.Result)
    assert platform.wait_for_exit() == 0


def test_an_interrupt_from_the_terminal_is_left_to_the_platform(platform: Platform) -> None:
    platform.ask(unload=pb.Unload(model="churn", version=1))
    platform.process.send_signal(signal.SIGINT)
    platform.ask(unload=pb.Unload(model="churn", version=1))


def test_the_end_of_the_connection_ends_an_idle_worker(platform: Platform) -> None:
    platform.ask(unload=pb.Unload(model="churn", version=1))
    platform.hang_up()
    assert platform.wait_for_exit() == 0


def test_the_end_of_the_connection_ends_a_busy_worker(platform: Platform, tmp_path: Path) -> None:
    started, never = Fifo(tmp_path), Fifo(tmp_path)
    (tmp_path / "slow.py").write_text(waiting_transform(started, never))
    task = pb.Transform(code_path=str(tmp_path / "slow.py"), function="transform", rows=ROWS)
    platform.post(transform=task)
    started.wait()
    platform.hang_up()
    assert platform.wait_for_exit() == 0


def test_processes_started_by_user_code_end_with_the_worker(
    platform: Platform, tmp_path: Path
) -> None:
    started, never, alive = Fifo(tmp_path), Fifo(tmp_path), Fifo(tmp_path)
    (tmp_path / "forks.py").write_text(
        f"""
import os

def transform(columns):
    if os.fork() == 0:
        held = open({str(alive.path)!r}, "w")
        open({str(started.path)!r}, "w").write("started")
        open({str(never.path)!r}).read()
    return columns
"""
    )
    task = pb.Transform(code_path=str(tmp_path / "forks.py"), function="transform", rows=ROWS)
    # Opened first without blocking, so that its end is seen when the child lets go of it.
    watch = os.open(alive.path, os.O_RDONLY | os.O_NONBLOCK)
    platform.answer(platform.post(transform=task))
    started.wait()
    os.set_blocking(watch, True)
    platform.hang_up()
    assert platform.wait_for_exit() == 0
    assert os.read(watch, 1) == b""
    os.close(watch)


def test_user_code_that_never_gives_up_the_interpreter_ends_with_its_traceback(
    tmp_path: Path,
) -> None:
    platform = Platform(tmp_path, hang_seconds=0.2)
    try:
        platform.hello()
        platform.welcome(heartbeat_ms=10)
        (tmp_path / "hangs.py").write_text(
            "import ctypes\n\ndef transform(columns):\n    ctypes.PyDLL(None).pause()\n"
        )
        task = pb.Transform(code_path=str(tmp_path / "hangs.py"), function="transform", rows=ROWS)
        platform.post(transform=task)
        while platform.receive() is not None:
            pass
        _, stderr = platform.process.communicate(timeout=60)
        assert platform.process.returncode == 1
        assert b"hangs.py" in stderr
    finally:
        platform.close()


def test_a_worker_that_is_not_welcomed_says_so_and_exits(dialled: Platform) -> None:
    dialled.hello()
    dialled.hang_up()
    _, stderr = dialled.process.communicate(timeout=60)
    assert dialled.process.returncode == 3
    assert b"check the token" in stderr


def test_a_truncated_frame_ends_the_worker(platform: Platform) -> None:
    platform.send_bytes(b"\x10\x00\x00\x00abc")
    platform.hang_up()
    assert platform.wait_for_exit() == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x00\x00\x00\x00", id="an empty frame"),
        pytest.param(b"\xff\xff\xff\xff", id="a frame above the limit"),
        pytest.param(b"\x04\x00\x00\x00\xff\xff\xff\xff", id="bytes that are no message"),
        pytest.param(b"\x02\x00\x00\x00\x0a\x00", id="a hello from the platform"),
    ],
)
def test_a_broken_frame_is_a_protocol_error(platform: Platform, data: bytes) -> None:
    platform.send_bytes(data)
    assert platform.wait_for_exit() == 4
    assert b"closing the connection" in platform.process.stderr.read()  # type: ignore[union-attr]


def test_a_task_whose_deadline_passed_in_the_queue_is_not_started(
    platform: Platform, tmp_path: Path
) -> None:
    started, go = Fifo(tmp_path), Fifo(tmp_path)
    (tmp_path / "slow.py").write_text(
        waiting_transform(started, go).replace(
            "    return", "    import time; end = time.monotonic() + 0.01\n"
            "    while time.monotonic() < end: pass\n    return",
        )
    )  # fmt: skip
    task = pb.Transform(code_path=str(tmp_path / "slow.py"), function="transform", rows=ROWS)
    running = platform.post(transform=task)
    started.wait()
    late = platform.post(timeout_ms=1, unload=pb.Unload(model="churn", version=1))
    go.open()
    assert isinstance(platform.answer(running), pb.Result)
    fault = platform.answer(late)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == pb.Fault.DEADLINE
    assert "deadline is 1 ms" in fault.message


def test_an_unknown_kind_of_work_is_a_fault_and_not_the_end(platform: Platform) -> None:
    fault = platform.fault()
    assert fault.kind == pb.Fault.INTERNAL
    platform.ask(unload=pb.Unload(model="churn", version=1))


def test_an_answer_above_the_frame_limit_is_a_fault(dialled: Platform, tmp_path: Path) -> None:
    dialled.hello()
    dialled.welcome(max_frame_bytes=4_096)
    answer = dialled.transform(
        "def transform(columns):\n    return {n: columns['a'] for n in 'bcdefghijk'}\n",
        table({"a": np.arange(100)}),
    )
    assert isinstance(answer, pb.Fault)
    assert answer.kind == pb.Fault.INTERNAL
    assert "at most 4096" in answer.message
