"""Frames over gRPC, for a worker on another machine than the platform."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from martlet_worker.connection import Connection, FrameTooLarge
from martlet_worker.limits import REMOTE_FRAME_BYTES, REMOTE_WAITING_FRAMES
from martlet_worker.worker_pb2 import Fault, Frame, Heartbeat, Hello, Log, Result, Welcome

METHOD = "/martlet.worker.v1.WorkerService/Connect"
DIAL_SECONDS = 30
FINISH_SECONDS = 5


class RemoteConnection(Connection):
    """A stream to the platform with the methods of a socket's connection.

    Whoever sends waits while too much is on its way, so that a slow network slows the worker down
    and does not fill its memory.
    """

    def __init__(self, address: str, authority: str | None) -> None:
        try:
            import grpc
        except ImportError as error:
            raise OSError(
                "a worker on another machine needs the package grpcio; pip install grpcio"
            ) from error
        options = [
            ("grpc.max_receive_message_length", REMOTE_FRAME_BYTES),
            ("grpc.max_send_message_length", REMOTE_FRAME_BYTES),
            # A network that has gone silent is noticed although nothing is sent.
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        roots = Path(authority).read_bytes() if authority is not None else None
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        self._channel = grpc.secure_channel(address, credentials, options)
        try:
            grpc.channel_ready_future(self._channel).result(timeout=DIAL_SECONDS)
        except grpc.FutureTimeoutError as error:
            self._channel.close()
            raise OSError(
                f"no TLS connection within {DIAL_SECONDS} s; check the address, that the platform "
                "listens there (workers.remote_port), and that --authority names who signed its "
                "certificate"
            ) from error
        self._error: type[Exception] = grpc.RpcError
        self._outgoing: queue.Queue[Frame | None] = queue.Queue(REMOTE_WAITING_FRAMES)
        self._over = threading.Event()
        self._ours = True
        self.max_frame_bytes = REMOTE_FRAME_BYTES
        connect = self._channel.stream_stream(
            METHOD,
            request_serializer=Frame.SerializeToString,
            response_deserializer=Frame.FromString,
        )
        self._incoming = connect(self._frames())
        os.register_at_fork(after_in_child=self.leave_to_parent)

    def _frames(self) -> Iterator[Frame]:
        while (frame := self._outgoing.get()) is not None:
            yield frame

    def send(
        self,
        *,
        hello: Hello | None = None,
        result: Result | None = None,
        fault: Fault | None = None,
        heartbeat: Heartbeat | None = None,
        log: Log | None = None,
    ) -> None:
        frame = Frame(hello=hello, result=result, fault=fault, heartbeat=heartbeat, log=log)
        if (size := frame.ByteSize()) > self.max_frame_bytes:
            raise FrameTooLarge(
                f"the answer takes {size} bytes; "
                f"the platform accepts frames of at most {self.max_frame_bytes}"
            )
        while self._ours:
            if self._over.is_set():
                raise OSError("the stream to the platform is closed")
            try:
                self._outgoing.put(frame, timeout=1)
            except queue.Full:
                continue
            return

    def receive(self) -> Frame | None:
        try:
            return next(self._incoming)
        except (StopIteration, self._error):
            self._over.set()
            return None

    def accept(self, welcome: Welcome) -> None:
        if welcome.max_frame_bytes:
            self.max_frame_bytes = min(welcome.max_frame_bytes, REMOTE_FRAME_BYTES)

    def finish(self) -> None:
        # The platform closes its side once it has read everything.
        with contextlib.suppress(queue.Full):
            self._outgoing.put(None, timeout=FINISH_SECONDS)
            self._over.wait(FINISH_SECONDS)

    def close(self) -> None:
        self._over.set()
        self._channel.close()

    def leave_to_parent(self) -> None:
        self._ours = False
