"""Features and what is read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, overload

from martlet import frames
from martlet.answers.base import TIME, TUPLE, Answer
from martlet.errors import InternalError
from martlet.values import from_wire, time_from_wire


@dataclass(frozen=True)
class Feature(Answer):
    """One feature: `key` has the type of each key column of its entity."""

    name: str
    type: str
    entity: str
    source: str
    key: Mapping[str, str]
    what: str


@dataclass(frozen=True)
class FeatureSet(Answer):
    """The features that a model reads: `entities` are its keys, `inputs` what a caller adds."""

    name: str
    features: tuple[str, ...] = field(metadata=TUPLE)
    entities: tuple[str, ...] = field(metadata=TUPLE, default=())
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Freshness(Answer):
    """How new the newest event of a view is; None where it has none.

    Events that are dated ahead of the clock count when their time has come: the furthest of them is
    `newest_future_event`.
    """

    view: str
    source: str
    newest_event: datetime | None = field(metadata=TIME, default=None)
    age_seconds: float | None = None
    newest_future_event: datetime | None = field(metadata=TIME, default=None)


class OnlineRow(Mapping[str, Any]):
    """The features of one row of keys, by name, each with a status and the time of its event."""

    def __init__(self, answer: OnlineFeatures, index: int) -> None:
        self._answer = answer
        self._index = index

    def __getitem__(self, feature: str) -> Any:
        return self._answer.values[self._index][self._answer.column(feature)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answer.features)

    def __len__(self) -> int:
        return len(self._answer.features)

    def __repr__(self) -> str:
        return repr(dict(self))

    def status(self, feature: str) -> str:
        """present, null (an observed one), not_found (no event of the key) or expired (ttl)."""
        return self._answer.statuses[self._index][self._answer.column(feature)]

    def event_timestamp(self, feature: str) -> datetime | None:
        """When the event behind the value happened."""
        return self._answer.event_timestamps[self._index][self._answer.column(feature)]

    def age(self, feature: str) -> timedelta | None:
        """How long before the read that was; None where the platform does not tell its time."""
        at = self.event_timestamp(feature)
        return None if at is None or self._answer.time is None else self._answer.time - at


@dataclass(frozen=True)
class OnlineFeatures(Sequence[OnlineRow]):
    """One row of values for each row of keys, in the order asked for.

    `answer[0]["view.feature"]` is one value; `statuses` and `event_timestamps` have the form of
    `values`, one tuple for each row. `time` is the instant of the read.
    """

    features: tuple[str, ...]
    keys: tuple[Mapping[str, Any], ...]
    values: tuple[tuple[Any, ...], ...]
    statuses: tuple[tuple[str, ...], ...]
    event_timestamps: tuple[tuple[datetime | None, ...], ...]
    types: Mapping[str, str] = field(default_factory=dict, repr=False)
    time: datetime | None = None

    @classmethod
    def of(
        cls, body: Any, keys: Sequence[Mapping[str, Any]], types: Mapping[str, str]
    ) -> OnlineFeatures:
        try:
            names = tuple(body["features"])
            kinds = [types.get(name) for name in names]
            rows = body["rows"]
            return cls(
                features=names,
                keys=tuple(keys),
                values=tuple(
                    tuple(from_wire(v, k) for v, k in zip(row["values"], kinds, strict=True))
                    for row in rows
                ),
                statuses=tuple(tuple(row["statuses"]) for row in rows),
                event_timestamps=tuple(
                    tuple(None if at is None else time_from_wire(at) for at in times)
                    for times in (row["event_timestamps"] for row in rows)
                ),
                types={name: kind for name, kind in types.items() if name in names},
                time=None if body.get("time") is None else time_from_wire(body["time"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InternalError(f"the answer has no features as asked for ({error!r})") from error

    @overload
    def __getitem__(self, index: int) -> OnlineRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[OnlineRow]: ...
    def __getitem__(self, index: int | slice) -> OnlineRow | list[OnlineRow]:
        if isinstance(index, slice):
            return [OnlineRow(self, row) for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} rows, so none with index {index}")
        return OnlineRow(self, index % len(self))

    def __len__(self) -> int:
        return len(self.values)

    def column(self, feature: str) -> int:
        try:
            return self.features.index(feature)
        except ValueError:
            raise KeyError(
                f"{feature} was not asked for; {', '.join(self.features)} were"
            ) from None

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns by name: the keys, then the features."""
        columns: dict[str, list[Any]] = {}
        for name in dict.fromkeys(name for row in self.keys for name in row):
            columns[name] = [row.get(name) for row in self.keys]
        for index, feature in enumerate(self.features):
            columns[feature] = [row[index] for row in self.values]
        return columns

    def to_arrow(self) -> Any:
        types = {name: frames.arrow_type(kind) for name, kind in self.types.items()}
        return frames.table_of(self.to_dict(), {n: t for n, t in types.items() if t is not None})

    def to_pandas(self) -> Any:
        return frames.from_arrow(self.to_arrow(), frames.checked_form("pandas"))

    def to_polars(self) -> Any:
        return frames.from_arrow(self.to_arrow(), frames.checked_form("polars"))
