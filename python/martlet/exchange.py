"""A request and its answer, apart from how they travel, and calls as conversations of them.

A call is a generator: it yields requests, is sent their responses, and returns its answer. The
same calls are then driven by the synchronous client and by the asynchronous one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from martlet.errors import InternalError, MartletError

T = TypeVar("T")

LONG_SECONDS = 3_600.0
"""How long a call may be silent that reads or writes much: history, files, SQL, verification."""


@dataclass(frozen=True)
class Request:
    """One request.

    `body` is bytes, or the path of a file that is streamed. `spooled`: the answer goes to a file
    in place of memory. `on_line` gets every line of the answer but the last, which is the answer.
    `repeatable`: doing it twice is like doing it once. `timeout` in seconds, None for the client's.
    """

    method: str
    path: str
    query: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | Path | None = None
    content_type: str = "application/json"
    spooled: bool = False
    on_line: Callable[[Any], None] | None = None
    repeatable: bool = True
    timeout: float | None = None

    @property
    def target(self) -> str:
        """The path with its query, escaped."""
        given = {name: value for name, value in self.query.items() if value is not None}
        return self.path + (f"?{urlencode(given, quote_via=quote)}" if given else "")

    @property
    def headers(self) -> dict[str, str]:
        accept = "application/json"
        if self.on_line:
            accept = "application/x-ndjson"
        elif self.spooled:
            accept = "*/*"
        headers = {"accept": accept}
        if self.body is not None:
            headers["content-type"] = self.content_type
        return headers


@dataclass(frozen=True)
class Response:
    """A successful answer: its bytes, or the file that they were spooled to, at its beginning."""

    headers: Mapping[str, str]
    body: bytes = b""
    file: IO[bytes] | None = None

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise InternalError(
                "the answer is not JSON, so it is not one of a Martlet platform; check the address"
            ) from error


Call = Generator[Request, Response, T]
"""A conversation that ends in an answer of type T."""


@dataclass(frozen=True)
class Ended(Generic[T]):
    """A call's answer."""

    value: T


def advance(call: Call[T], answer: Response | MartletError | None) -> Request | Ended[T]:
    """The call's next request, given the answer to the one before; None begins it."""
    try:
        if isinstance(answer, MartletError):
            return call.throw(answer)
        return call.send(answer)  # type: ignore[arg-type]  # None is how a generator is begun
    except StopIteration as end:
        return Ended(end.value)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def json_body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
