"""What the calls answer.

Fields are those of the REST API ([reference](../../docs/reference/rest.md)); times are `datetime`s
with the zone UTC. A field that a newer platform adds is ignored here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Self, overload

from martlet import frames
from martlet.errors import InternalError
from martlet.values import from_wire, time_from_wire


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


# MARK: definitions


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


# MARK: events


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


# MARK: features


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


# MARK: lineage


@dataclass(frozen=True)
class LineageNode(Answer):
    id: str
    kind: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LineageEdge(Answer):
    """`to` was made from `source`, which it uses as `role`."""

    source: str = field(metadata={"name": "from"})
    to: str
    role: str


@dataclass(frozen=True)
class Lineage(Answer):
    """A graph; each node comes after what it was made from."""

    root: str
    direction: str
    nodes: tuple[LineageNode, ...] = field(metadata=many(LineageNode), default=())
    edges: tuple[LineageEdge, ...] = field(metadata=many(LineageEdge), default=())

    def node(self, name: str) -> LineageNode:
        """The node with that id, or with that name where it is one only."""
        found = [node for node in self.nodes if name in (node.id, node.name)]
        if len(found) != 1:
            known = ", ".join(node.id for node in found or self.nodes)
            raise KeyError(f"'{name}' is {'not one node' if found else 'no node'}; of: {known}")
        return found[0]


# MARK: verification


@dataclass(frozen=True)
class FeatureVerification(Answer):
    """How often a feature was compared, and how often it differed for which cause."""

    feature: str
    compared: int
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification(Answer):
    """Served values against what the warehouse says they should have been.

    `passed`: at most the share `threshold` of the compared values differs. `in_flight` and
    `past_retention` explain differences that are no mismatches. `of_former_definitions` are logged
    vectors that were not compared since their features have changed.
    """

    passed: bool
    vectors: int
    compared: int
    mismatches: int
    mismatch_share: float
    in_flight: int = 0
    past_retention: int = 0
    threshold: float = 0.0
    of_former_definitions: int = 0
    features: tuple[FeatureVerification, ...] = field(
        metadata=many(FeatureVerification), default=()
    )
    examples: tuple[Mapping[str, Any], ...] = field(metadata=TUPLE, default=())


# MARK: datasets


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


# MARK: models and jobs


@dataclass(frozen=True)
class ModelVersion(Answer):
    """One version of a model."""

    model: str
    version: int
    stage: str
    metrics: Mapping[str, float]
    features: tuple[str, ...] = field(metadata=TUPLE)
    training_rows: int = 0
    training_hash: str = ""
    definitions_version: int = 0
    artifact: str = ""
    baseline: str = ""
    format: str = ""
    job_id: str = ""
    training_as_of: datetime | None = field(metadata=TIME, default=None)
    created_at: datetime | None = field(metadata=TIME, default=None)


@dataclass(frozen=True)
class Model(Answer):
    """A model: the version that serves, if any, and all versions."""

    name: str
    serving: int | None = None
    load_error: str | None = None
    versions: tuple[ModelVersion, ...] = field(metadata=many(ModelVersion), default=())


@dataclass(frozen=True)
class Job(Answer):
    """A durable job; `state` is PENDING, RUNNING, COMPLETED, FAILED or CANCELLED."""

    id: str
    kind: str
    state: str
    attempt: int
    model: str = ""
    reason: str = ""
    progress: str = ""
    error: str | None = None
    version: int | None = None
    created_at: datetime | None = field(metadata=TIME, default=None)
    finished_at: datetime | None = field(metadata=TIME, default=None)

    @property
    def done(self) -> bool:
        return self.state not in ("PENDING", "RUNNING")


@dataclass(frozen=True)
class Prediction(Answer):
    """One value, by which version, and the features that it was made from, each with value, status, event time."""

    value: Any
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int | None = None
    route: str = ""


@dataclass(frozen=True)
class Predictions(Answer):
    """One prediction for each row, in their order, and by which version.

    Where rows went different ways (`route` is "mixed"), `version` and `stage` are None and each prediction has its own.
    """

    request_id: str
    model: str
    version: int | None
    stage: str | None
    route: str
    why: str = ""
    predictions: tuple[Prediction, ...] = field(metadata=many(Prediction), default=())
    latency_us: Mapping[str, int] = field(default_factory=dict)

    @property
    def values(self) -> list[Any]:
        return [prediction.value for prediction in self.predictions]

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, index: int) -> Prediction:
        return self.predictions[index]


@dataclass(frozen=True)
class FeatureDrift(Answer):
    feature: str
    psi: float
    null_share: float
    baseline_null_share: float
    ks: float | None = None


@dataclass(frozen=True)
class DriftReport(Answer):
    """Live inputs of a window against the training set of the version in production."""

    model: str
    version: int
    rows: int
    score: float
    window_start: datetime = field(metadata=TIME)
    window_end: datetime = field(metadata=TIME)
    features: tuple[FeatureDrift, ...] = field(metadata=many(FeatureDrift), default=())
