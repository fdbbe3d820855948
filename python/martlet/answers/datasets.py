"""Saved training sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from martlet.answers.base import TIME, TUPLE, Answer


@dataclass(frozen=True)
class Dataset(Answer):
    """A saved training set: what it was made of, and by what its rows and its file are known again.

    `model` is None for features joined to a spine. `through` has, by source, the last sequence that
    counts: what was stored later never changes the set.
    """

    id: str
    name: str
    rows: int
    features: tuple[str, ...] = field(metadata=TUPLE)
    definitions_version: int = 0
    mode: str = "as_corrected"
    spine: str = ""
    time_column: str = ""
    row_hash: str = ""
    file_digest: str = ""
    incomplete_rows: int = 0
    erased_rows: int = 0
    model: str | None = None
    through: Mapping[str, int] = field(default_factory=dict)
    as_of: datetime | None = field(metadata=TIME, default=None)
    first: datetime | None = field(metadata=TIME, default=None)
    last: datetime | None = field(metadata=TIME, default=None)
    created_at: datetime | None = field(metadata=TIME, default=None)


@dataclass(frozen=True)
class DatasetVerdict(Answer):
    """What a saved set was found to be when computed again, and why it differs if it does."""

    id: str
    reproduced: bool
    same_file: bool
    row_hash: str
    recomputed_hash: str | None = None
    note: str = ""
