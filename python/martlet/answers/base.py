"""What the calls answer.

Fields are those of the REST API ([reference](../../docs/reference/rest.md)); times are `datetime`s
with the zone UTC. A field that a newer platform adds is ignored here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Self

from martlet.errors import InternalError
from martlet.values import time_from_wire


class Answer:
    """Made of a JSON object by the names of its fields; `read` in a field's metadata converts."""

    @classmethod
    def of(cls, body: Any) -> Self:
        if not isinstance(body, Mapping):
            raise InternalError(
                f"the answer has no {cls.__name__}; is the platform newer or older?"
            )
        given: dict[str, Any] = {}
        for item in fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            name = item.metadata.get("name", item.name)
            value = body.get(name)
            if value is not None and "read" in item.metadata:
                value = item.metadata["read"](value)
            if value is not None or name in body:
                given[item.name] = value
        try:
            return cls(**given)
        except TypeError as error:
            raise InternalError(
                f"the answer lacks a part of {cls.__name__}; is the platform older? ({error})"
            ) from error


def many(kind: type[Answer]) -> Mapping[str, Callable[[Any], Any]]:
    """How a field is read that has several answers of one kind."""
    return {"read": lambda items: tuple(kind.of(item) for item in items)}


TUPLE: Mapping[str, Callable[[Any], Any]] = {"read": tuple}
TIME: Mapping[str, Callable[[Any], Any]] = {"read": time_from_wire}
