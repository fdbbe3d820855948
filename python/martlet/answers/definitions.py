"""Plans, and what is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from martlet.answers.base import TUPLE, Answer, many


@dataclass(frozen=True)
class FieldChange(Answer):
    field: str
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True)
class Change(Answer):
    """What becomes of one thing: `action` is added, changed or removed."""

    kind: str
    name: str
    action: str
    fields: tuple[FieldChange, ...] = field(metadata=many(FieldChange), default=())


@dataclass(frozen=True)
class Breakage(Answer):
    """Why the definitions cannot be applied as they are, and who would suffer."""

    subject: str
    message: str
    breaks: str | None = None


@dataclass(frozen=True)
class Plan(Answer):
    """What `apply` would change; printed, it is the diff of the command line."""

    text: str
    empty: bool
    changes: tuple[Change, ...] = field(metadata=many(Change), default=())
    breakages: tuple[Breakage, ...] = field(metadata=many(Breakage), default=())
    notes: tuple[str, ...] = field(metadata=TUPLE, default=())

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Applied(Answer):
    """What is in force now; printed, it is the diff and the version."""

    text: str
    version: int
    digest: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Definitions(Answer):
    """The definitions in force; `project` is their parsed form."""

    version: int
    digest: str
    project: Mapping[str, Any]
