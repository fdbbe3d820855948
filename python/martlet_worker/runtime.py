"""The worker's life: dial, hello, welcome, then tasks one at a time until the end.

Threads: the main thread runs tasks; `martlet-reader` takes frames from the socket and ends the
process when the platform is gone; `martlet-heartbeat` beats, busy or not; `martlet-output` forwards
what is printed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import platform
import queue
import secrets
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from google.protobuf.message import DecodeError

from martlet_worker import PROTOCOL_VERSION, libraries
from martlet_worker.connection import Connection, FrameTooLarge, ProtocolError
from martlet_worker.faults import TaskFault, describe
from martlet_worker.limits import HANG_SECONDS, LOG_MESSAGE_BYTES
from martlet_worker.models import Models
from martlet_worker.output import LogForwarding, OutputCapture
from martlet_worker.training import train
from martlet_worker.transform import Transforms
from martlet_worker.worker_pb2 import (
    TASK_KIND_LOAD_MODEL,
    TASK_KIND_PREDICT,
    TASK_KIND_TRAIN,
    TASK_KIND_TRANSFORM,
    TASK_KIND_UNLOAD,
    Fault,
    Heartbeat,
    Hello,
    Loaded,
    Log,
    Result,
    Task,
    TaskKind,
    Unloaded,
)

# What needs no file of the platform's machine.
REMOTE_KINDS = (TASK_KIND_LOAD_MODEL, TASK_KIND_PREDICT, TASK_KIND_UNLOAD)
ALL_KINDS = (*REMOTE_KINDS, TASK_KIND_TRAIN, TASK_KIND_TRANSFORM)
RUNTIME_LOGGER = "martlet_worker"

EXIT_CLEAN = 0
EXIT_REFUSED = 3
EXIT_PROTOCOL = 4


@dataclass(frozen=True)
class Received:
    """A task and the moment it came, from which its deadline counts."""

    task: Task
    at: float

    def overdue(self, now: float) -> bool:
        return bool(self.task.timeout_ms) and now - self.at > self.task.timeout_ms / 1000


class Worker:
    """One connection to the platform and the state behind it."""

    def __init__(
        self,
        connection: Connection,
        worker_id: str,
        token: str,
        kinds: Sequence[TaskKind],
        name: str = "",
    ) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._name = name
        self._token = token
        self._kinds = kinds
        self._incarnation = secrets.randbits(63)
        # None means: no more tasks will come.
        self._waiting: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._busy_task_id = ""
        self._models = Models(lambda message: self._say(Log.WARNING, RUNTIME_LOGGER, message))
        self._transforms = Transforms()
        self._output: OutputCapture | None = None

    def run(self) -> NoReturn:
        """Never returns: the process ends with the connection, a drain or SIGTERM."""
        self._connection.send(hello=self._hello())
        interval = self._welcome()
        self._output = OutputCapture(self._say)
        forwarding = LogForwarding(self._say)
        logging.basicConfig(level=logging.INFO, handlers=[forwarding], format="%(message)s")
        self._take_signals()
        for name, body in (
            ("martlet-heartbeat", lambda: self._beat(interval)),
            ("martlet-reader", self._read),
        ):
            threading.Thread(target=body, name=name, daemon=True).start()
        while (received := self._waiting.get()) is not None:
            self._perform(received)
        self._end(EXIT_CLEAN)

    def _take_signals(self) -> None:
        """SIGTERM drains; SIGINT is for the platform to judge, which shares the terminal."""
        # Whatever processes the user's code starts belong to this group and end with it.
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._waiting.put(None))
        os.register_at_fork(after_in_child=default_signals)

    # The conversation

    def _hello(self) -> Hello:
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            worker_id=self._worker_id,
            incarnation=self._incarnation,
            token=self._token,
            pid=os.getpid(),
            python_version=platform.python_version(),
            libraries=libraries.installed(),
            kinds=self._kinds,
            memory_bytes=resident_bytes(),
            name=self._name,
        )

    def _welcome(self) -> float:
        frame = self._connection.receive()
        if frame is None or frame.WhichOneof("kind") != "welcome":
            sys.stderr.write(
                f"worker {self._worker_id or self._name}: the platform did not welcome it; "
                "check the token and that both sides have the same release\n"
            )
            sys.stderr.flush()
            os._exit(EXIT_REFUSED)
        self._connection.accept(frame.welcome)
        return max(frame.welcome.heartbeat_interval_ms, 1) / 1000

    def _read(self) -> None:
        try:
            while (frame := self._connection.receive()) is not None:
                kind = frame.WhichOneof("kind")
                if kind == "task":
                    self._waiting.put(Received(frame.task, time.monotonic()))
                elif kind == "drain":
                    self._waiting.put(None)
                else:
                    raise ProtocolError(f"a frame of kind {kind} came from the platform")
        except (ProtocolError, DecodeError) as error:
            self._complain(f"worker {self._worker_id}: {error}; closing the connection")
            self._end(EXIT_PROTOCOL)
        except OSError:
            pass
        # The platform is gone: whatever runs here runs for nobody.
        leave(EXIT_CLEAN)

    def _beat(self, interval: float) -> None:
        silence = threading.Event()
        patience = max(HANG_SECONDS, 10 * interval)
        sequence = 0
        with contextlib.suppress(OSError):
            while True:
                sequence += 1
                self._connection.send(
                    heartbeat=Heartbeat(
                        incarnation=self._incarnation,
                        rss_bytes=resident_bytes(),
                        busy_task_id=self._busy_task_id,
                        sequence=sequence,
                    )
                )
                # If no thread gets a turn any more, not even the reader notices that the platform
                # is gone. This timer needs no turn: it ends a hung process that nobody killed.
                if self._output is not None:
                    faulthandler.dump_traceback_later(
                        patience, exit=True, file=self._output.original_stderr
                    )
                silence.wait(interval)

    # Tasks

    def _perform(self, received: Received) -> None:
        task = received.task
        self._busy_task_id = task.id
        start = time.monotonic()
        try:
            if received.overdue(start):
                raise TaskFault(
                    Fault.DEADLINE,
                    f"the task waited {(start - received.at) * 1000:.0f} ms for its turn and its "
                    f"deadline is {task.timeout_ms} ms; allow more time or more workers",
                )
            result = self._result(task)
            result.task_id = task.id
            result.compute_us = int((time.monotonic() - start) * 1e6)
            self._answer(result, None)
        except FrameTooLarge as error:
            self._answer(None, describe(task.id, TaskFault(Fault.INTERNAL, str(error))))
        except BaseException as error:
            # SystemExit and KeyboardInterrupt of user code are a fault like any other.
            self._answer(None, describe(task.id, error))

    def _result(self, task: Task) -> Result:
        match task.WhichOneof("work"):
            case "predict":
                return Result(predicted=self._models.predict(task.predict))
            case "load_model":
                self._models.load(task.load_model)
                return Result(loaded=Loaded())
            case "unload":
                self._models.unload(task.unload)
                return Result(unloaded=Unloaded())
            case "transform":
                return Result(transformed=self._transforms.apply(task.transform))
            case "train":
                return Result(
                    trained=train(task.train, lambda text: self._say(Log.INFO, "context", text))
                )
            case other:
                raise TaskFault(
                    Fault.INTERNAL,
                    f"this worker does not know the work of task {task.id} ({other}); "
                    "platform and worker must be of the same release",
                )

    def _answer(self, result: Result | None, fault: Fault | None) -> None:
        if self._output is not None:
            self._output.settle()
        self._busy_task_id = ""
        try:
            self._connection.send(result=result, fault=fault)
        except OSError:
            leave(EXIT_CLEAN)

    # Output

    def _say(self, level: Log.Level, logger: str, message: str) -> None:
        if len(message) > LOG_MESSAGE_BYTES // 4:
            message = message.encode(errors="replace")[:LOG_MESSAGE_BYTES].decode(errors="ignore")
        with contextlib.suppress(OSError):
            self._connection.send(
                log=Log(level=level, logger=logger, message=message, task_id=self._busy_task_id)
            )

    def _complain(self, message: str) -> None:
        descriptor = 2 if self._output is None else self._output.original_stderr
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{message}\n".encode())

    def _end(self, status: int) -> NoReturn:
        """Ends the process whatever threads the user's code has left behind."""
        if self._output is not None:
            self._output.settle()
        self._connection.finish()
        leave(status)


def default_signals() -> None:
    # Only the main thread may do this; a child forked from another one keeps the handlers.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave(status: int) -> NoReturn:
    """Ends this process at once, and the processes it has started."""
    if os.getpgrp() == os.getpid():
        # This process itself takes SIGTERM for a drain, and is gone before that.
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGTERM)
    os._exit(status)


def resident_bytes() -> int:
    """The resident set size of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 (on every beat)
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
