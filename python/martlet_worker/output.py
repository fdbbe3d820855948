"""What user code prints, by Python or by C, becomes Log frames and never touches the protocol."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import sys
import threading
from collections.abc import Callable

from martlet_worker.limits import LOG_MESSAGE_BYTES
from martlet_worker.worker_pb2 import Log

Emit = Callable[[Log.Level, str, str], None]

READ_BYTES = 64 * 1024


class Lines:
    """Cuts a byte stream into lines of bounded length; a value without I/O."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [part for line in whole for part in _parts(line)]
        while len(self._rest) > LOG_MESSAGE_BYTES:
            lines.append(_text(self._rest[:LOG_MESSAGE_BYTES]))
            self._rest = self._rest[LOG_MESSAGE_BYTES:]
        return lines

    def flush(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _parts(line: bytes) -> list[str]:
    # A progress bar rewrites its line with carriage returns; its last state is what counts.
    line = line.rstrip(b"\r").rpartition(b"\r")[2]
    starts = range(0, max(len(line), 1), LOG_MESSAGE_BYTES)
    return [_text(line[start : start + LOG_MESSAGE_BYTES]) for start in starts]


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


class CapturedStream:
    """One file descriptor (1 or 2) turned into a pipe whose lines are emitted."""

    def __init__(self, descriptor: int, name: str, level: Log.Level, emit: Emit) -> None:
        self.name = name
        self._level = level
        self._emit = emit
        self._lines = Lines()
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.dup2(writer, descriptor, inheritable=True)
        os.close(writer)

    def drain(self) -> None:
        """Emits all lines that are in the pipe now."""
        while True:
            try:
                data = os.read(self.reader, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            self._say(self._lines.feed(data))

    def flush(self) -> None:
        """Emits also the line that has not ended yet."""
        self._say(self._lines.flush())

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self._emit(self._level, self.name, line)


class OutputCapture:
    """Stdout and stderr of this process, forwarded line by line by a thread of its own.

    `settle` is the order guarantee: when it returns, all that was printed before is emitted.
    """

    def __init__(self, emit: Emit) -> None:
        self._flush_c = _c_flush()
        self._reading = threading.Lock()
        # The platform's own stderr, for what has to be said when there is no connection.
        self.original_stderr = os.dup(2)
        self._streams = [
            CapturedStream(1, "stdout", Log.INFO, emit),
            CapturedStream(2, "stderr", Log.WARNING, emit),
        ]
        self._ready = select.poll()
        for stream in self._streams:
            self._ready.register(stream.reader, select.POLLIN)
        for text in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError):
                text.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        threading.Thread(target=self._pump, name="martlet-output", daemon=True).start()

    def settle(self) -> None:
        """Forwards everything printed so far, from Python's and from C's buffers."""
        for text in (sys.stdout, sys.stderr):
            # User code may have closed or replaced them.
            with contextlib.suppress(Exception):
                text.flush()
        self._flush_c()
        with self._reading:
            # Asking first is cheaper than two reads that fail.
            if self._ready.poll(0):
                for stream in self._streams:
                    stream.drain()
            for stream in self._streams:
                stream.flush()

    def _pump(self) -> None:
        waiting = select.poll()
        for stream in self._streams:
            waiting.register(stream.reader, select.POLLIN)
        with contextlib.suppress(OSError):
            while True:
                waiting.poll()
                with self._reading:
                    for stream in self._streams:
                        stream.drain()


def _c_flush() -> Callable[[], object]:
    try:
        flush = ctypes.CDLL(None).fflush
    except (OSError, AttributeError):
        return lambda: None
    return lambda: flush(None)


class LogForwarding(logging.Handler):
    """Python's logging as Log frames that keep their level and the logger's name."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._emit(_level(record.levelno), record.name, message)


def _level(number: int) -> Log.Level:
    if number >= logging.ERROR:
        return Log.ERROR
    if number >= logging.WARNING:
        return Log.WARNING
    return Log.INFO if number >= logging.INFO else Log.DEBUG
