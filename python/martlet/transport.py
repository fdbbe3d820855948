"""Requests over HTTP, with pooled connections, time-outs and retries."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

import anyio
import anyio.to_thread
import httpx2

from martlet.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    MartletError,
    UnavailableError,
    error_of,
)
from martlet.exchange import Request, Response
from martlet.retries import Failure, RetryPolicy

CONNECT_SECONDS = 5.0
SPOOL_BYTES = 32 << 20
PIECE_BYTES = 1 << 20


class Failed(Exception):
    """An attempt without an answer that is one."""

    def __init__(self, failure: Failure, error: MartletError) -> None:
        super().__init__(error.message)
        self.failure = failure
        self.error = error


class Attempt:
    """What both ways of sending have in common: how to ask, and how to understand what comes."""

    def __init__(
        self, address: str, token: str | None, timeout: float, policy: RetryPolicy
    ) -> None:
        self.address = address
        self.policy = policy
        self._timeout = timeout
        self._random = random.Random()
        self.headers = {"user-agent": "martlet-python"}
        if token:
            if not token.isascii() or not token.isprintable() or token != token.strip():
                raise InvalidArgumentError(
                    "the token has characters that no HTTP header takes; check it for line ends"
                )
            self.headers["authorization"] = f"Bearer {token}"
        self.limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20)

    def timeout(self, request: Request) -> httpx2.Timeout:
        return httpx2.Timeout(request.timeout or self._timeout, connect=CONNECT_SECONDS)

    def failure(self, error: Exception, request: Request) -> tuple[Failure, MartletError]:
        """How far an attempt came that got no answer."""
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return Failure.NEVER_SENT, UnavailableError(
                f"no platform answers at {self.address}; start it with `martlet up`, or name "
                "another address: Client('http://host:8080') or MARTLET_ADDRESS",
                retryable=True,
            )
        if isinstance(error, httpx2.PoolTimeout):
            return Failure.FINAL, DeadlineExceededError(
                "all connections of this client are busy; use one client for fewer calls at once",
                retryable=True,
            )
        if isinstance(error, httpx2.TimeoutException):
            seconds = request.timeout or self._timeout
            return Failure.FINAL, DeadlineExceededError(
                f"{self.address} did not answer {request.method} {request.path} within "
                f"{seconds:g} s; what was asked may still be done. Allow more with timeout=",
                retryable=True,
            )
        if isinstance(error, httpx2.TransportError):
            return Failure.LOST, UnavailableError(
                f"the connection to {self.address} broke during {request.method} {request.path} "
                f"({type(error).__name__}); see the platform's log",
                retryable=True,
            )
        return Failure.FINAL, InvalidArgumentError(f"the request cannot be sent: {error}")

    def refusal(self, status: int, headers: httpx2.Headers, body: bytes) -> MartletError:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        text = body[:1_000].decode(errors="replace")
        return error_of(parsed, status, headers.get("retry-after"), text)

    def after(self, attempt: int, failed: Failed, request: Request) -> float:
        """Seconds until the next attempt; raises the error where there is to be none."""
        wait = self.policy.wait(
            attempt,
            failed.failure,
            failed.error,
            repeatable=request.repeatable,
            uniform=self._random.uniform,
        )
        if wait is None:
            raise failed.error from failed.__cause__
        return wait


class Lines:
    """The lines of an answer as they come: all but the last are news, the last is the answer."""

    def __init__(self, request: Request) -> None:
        self._tell = request.on_line
        self._pending = b""
        self._last: bytes | None = None

    def add(self, piece: bytes) -> None:
        *whole, self._pending = (self._pending + piece).split(b"\n")
        for line in whole:
            if self._last is not None and self._tell:
                self._tell(json.loads(self._last))
            self._last = line

    def answer(self) -> bytes:
        """The last line; raises the error that it may be."""
        last = self._pending.strip() or self._last
        if not last:
            raise UnavailableError("the platform closed the connection; see its log")
        body = json.loads(last)
        if isinstance(body, dict) and "error" in body:
            raise error_of(body, None)
        return last


def failure_of(status: int) -> Failure:
    return {429: Failure.REFUSED, 503: Failure.AWAY}.get(status, Failure.FINAL)


def _spool() -> IO[bytes]:
    return cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))


class Transport(Attempt):
    """Sends requests and waits for their answers; for any number of threads."""

    def __init__(
        self, address: str, token: str | None, timeout: float, policy: RetryPolicy
    ) -> None:
        super().__init__(address, token, timeout, policy)
        self._lock = Lock()
        self._client: httpx2.Client | None = None
        self._process = 0

    def send(self, request: Request) -> Response:
        attempt = 1
        while True:
            try:
                return self._send(request)
            except Failed as caught:
                failed = caught
            time.sleep(self.after(attempt, failed, request))
            attempt += 1

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client and self._process == os.getpid():
            client.close()

    def _opened(self) -> httpx2.Client:
        """The connections of this process; those of the parent of a fork are left alone."""
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client = httpx2.Client(headers=self.headers, limits=self.limits)
                self._process = os.getpid()
            return self._client

    def _send(self, request: Request) -> Response:
        body = request.body
        file = body.open("rb") if isinstance(body, Path) else None
        try:
            with self._opened().stream(
                request.method,
                self.address + request.target,
                headers=request.headers,
                content=file or cast("bytes | None", body),
                timeout=self.timeout(request),
            ) as response:
                if response.status_code >= 300:
                    error = self.refusal(response.status_code, response.headers, response.read())
                    raise Failed(failure_of(response.status_code), error)
                return self._answer(request, response)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Failed(*self.failure(error, request)) from error
        finally:
            if file:
                file.close()

    def _answer(self, request: Request, response: httpx2.Response) -> Response:
        if request.on_line:
            lines = Lines(request)
            for piece in response.iter_bytes():
                lines.add(piece)
            return Response(response.headers, lines.answer())
        if request.spooled:
            file = _spool()
            for piece in response.iter_bytes(PIECE_BYTES):
                file.write(piece)
            file.seek(0)
            return Response(response.headers, file=file)
        return Response(response.headers, response.read())


class AsyncTransport(Attempt):
    """Sends requests for any number of tasks of one event loop."""

    _client: httpx2.AsyncClient | None = None

    async def send(self, request: Request) -> Response:
        attempt = 1
        while True:
            try:
                return await self._send(request)
            except Failed as caught:
                failed = caught
            await anyio.sleep(self.after(attempt, failed, request))
            attempt += 1

    async def close(self) -> None:
        client, self._client = self._client, None
        if client:
            await client.aclose()

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(headers=self.headers, limits=self.limits)
        return self._client

    async def _send(self, request: Request) -> Response:
        body: Any = request.body
        try:
            async with self._opened().stream(
                request.method,
                self.address + request.target,
                headers=request.headers,
                content=_pieces(body) if isinstance(body, Path) else body,
                timeout=self.timeout(request),
            ) as response:
                if response.status_code >= 300:
                    refused = await response.aread()
                    error = self.refusal(response.status_code, response.headers, refused)
                    raise Failed(failure_of(response.status_code), error)
                return await self._answer(request, response)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Failed(*self.failure(error, request)) from error

    async def _answer(self, request: Request, response: httpx2.Response) -> Response:
        if request.on_line:
            lines = Lines(request)
            async for piece in response.aiter_bytes():
                lines.add(piece)
            return Response(response.headers, lines.answer())
        if request.spooled:
            file = _spool()
            async for piece in response.aiter_bytes(PIECE_BYTES):
                await anyio.to_thread.run_sync(file.write, piece)
            file.seek(0)
            return Response(response.headers, file=file)
        return Response(response.headers, await response.aread())


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while piece := await file.read(PIECE_BYTES):
            yield piece
