"""What became of events, and of quarantined and erased ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from martlet.answers.base import TIME, TUPLE, Answer, many


@dataclass(frozen=True)
class Reason(Answer):
    """Why records were refused or warned of, and how many."""

    reason: str
    count: int


@dataclass(frozen=True)
class PushReceipt(Answer):
    """Stored and readable. `reasons` are of at most 100 quarantined records."""

    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    unknown_fields: int = 0
    erased: int = 0
    expired: int = 0
    reasons: tuple[str, ...] = field(metadata=TUPLE, default=())
    warnings: tuple[Reason, ...] = field(metadata=many(Reason), default=())

    def __add__(self, other: PushReceipt) -> PushReceipt:
        counts: dict[str, int] = {}
        for warning in (*self.warnings, *other.warnings):
            counts[warning.reason] = counts.get(warning.reason, 0) + warning.count
        return PushReceipt(
            accepted=self.accepted + other.accepted,
            duplicates=self.duplicates + other.duplicates,
            quarantined=self.quarantined + other.quarantined,
            unknown_fields=self.unknown_fields + other.unknown_fields,
            erased=self.erased + other.erased,
            expired=self.expired + other.expired,
            reasons=(self.reasons + other.reasons)[:100],
            warnings=tuple(Reason(reason, count) for reason, count in counts.items()),
        )


@dataclass(frozen=True)
class IngestReport(Answer):
    """What became of a file's rows."""

    rows: int
    accepted: int
    duplicates: int
    quarantined: int
    erased: int
    already_ingested: bool
    seconds: float
    expired: int = 0
    reasons: tuple[Reason, ...] = field(metadata=many(Reason), default=())
    warnings: tuple[Reason, ...] = field(metadata=many(Reason), default=())
    missing_columns: tuple[str, ...] = field(metadata=TUPLE, default=())
    ignored_columns: tuple[str, ...] = field(metadata=TUPLE, default=())


@dataclass(frozen=True)
class QuarantinedRecord(Answer):
    """A record that became no event, whole, and why. `raw_base64` is there where it is no text."""

    id: int
    source: str
    status: str
    kind: str
    reason: str
    position: str
    event_id: str
    attempts: int
    record: Any
    quarantined_at: datetime = field(metadata=TIME)
    settled_at: datetime | None = field(metadata=TIME, default=None)
    raw_base64: str | None = None


@dataclass(frozen=True)
class ReplayFailure(Answer):
    id: int
    reason: str


@dataclass(frozen=True)
class ReplayReport(Answer):
    """What became of replayed records; `failures` are the first 1,000 that failed again."""

    replayed: int
    duplicates: int
    failed: int
    failures: tuple[ReplayFailure, ...] = field(metadata=many(ReplayFailure), default=())


@dataclass(frozen=True)
class ErasureShare(Answer):
    """What another process removed, or has still to remove (`waiting`)."""

    warehouse: str
    name: str
    state: str
    removed: Mapping[str, int]


@dataclass(frozen=True)
class ErasureReceipt(Answer):
    """What an erasure removed, by place; `note` says what is not done yet."""

    id: str
    digest: str
    state: str
    removed: Mapping[str, int]
    rebuilt_keys: int
    erased_at: datetime = field(metadata=TIME)
    entity: str | None = None
    processes: tuple[ErasureShare, ...] = field(metadata=many(ErasureShare), default=())
    note: str | None = None
