"""Frames on the Unix socket: 4-byte little-endian length, then one serialized Frame."""

from __future__ import annotations

import os
import socket
import struct
import threading

from martlet_worker.limits import COALESCED_WRITE_BYTES, INITIAL_FRAME_BYTES
from martlet_worker.worker_pb2 import Fault, Frame, Heartbeat, Hello, Log, Result, Welcome

LENGTH = struct.Struct("<I")


class ProtocolError(Exception):
    """The peer broke the framing; the connection is of no use any more."""


class FrameTooLarge(Exception):
    """A frame of ours is above what the platform takes."""


class Connection:
    """A connected socket that any thread may send on and one thread receives from.

    Frames of different threads never interleave. A forked child loses the connection: it must
    neither write to it nor keep it open when its parent dies.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self._sending = threading.Lock()
        self._ours = True
        self.max_frame_bytes = INITIAL_FRAME_BYTES
        os.register_at_fork(after_in_child=self.leave_to_parent)

    @classmethod
    def dial(cls, path: str) -> Connection:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(path)
        return cls(stream)

    def send(
        self,
        *,
        hello: Hello | None = None,
        result: Result | None = None,
        fault: Fault | None = None,
        heartbeat: Heartbeat | None = None,
        log: Log | None = None,
    ) -> None:
        """Sends one frame whole; `OSError` when the peer is gone."""
        frame = Frame(hello=hello, result=result, fault=fault, heartbeat=heartbeat, log=log)
        payload = frame.SerializeToString()
        if len(payload) > self.max_frame_bytes:
            raise FrameTooLarge(
                f"the answer takes {len(payload)} bytes; "
                f"the platform accepts frames of at most {self.max_frame_bytes}"
            )
        header = LENGTH.pack(len(payload))
        with self._sending:
            if not self._ours:
                return
            if len(payload) <= COALESCED_WRITE_BYTES:
                self._socket.sendall(header + payload)
            else:
                self._socket.sendall(header)
                self._socket.sendall(payload)

    def receive(self) -> Frame | None:
        """The next frame; None at the end of the stream, even in the middle of a frame."""
        header = self._read(LENGTH.size)
        if header is None:
            return None
        (size,) = LENGTH.unpack(header)
        if size == 0 or size > self.max_frame_bytes:
            raise ProtocolError(
                f"a frame of {size} bytes came; it must be 1 to {self.max_frame_bytes}"
            )
        payload = self._read(size)
        return None if payload is None else Frame.FromString(payload)

    def accept(self, welcome: Welcome) -> None:
        if welcome.max_frame_bytes:
            self.max_frame_bytes = welcome.max_frame_bytes

    def finish(self) -> None:
        """Returns once what was sent is on its way."""

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> bytes | None:
        chunk = self._socket.recv(size)
        if len(chunk) == size:
            return chunk
        if not chunk:
            return None
        whole = bytearray(size)
        view = memoryview(whole)
        view[: len(chunk)] = chunk
        got = len(chunk)
        while got < size:
            count = self._socket.recv_into(view[got:])
            if count == 0:
                return None
            got += count
        return bytes(whole)

    def leave_to_parent(self) -> None:
        """For a forked child: forget the connection without touching what the parent sends."""
        self._sending = threading.Lock()
        self._ours = False
        self._socket.close()
