"""Models, predictions, jobs and drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from martlet.answers.base import TIME, TUPLE, Answer, many


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
    """One value, by which version, and the features that it was made from, with their statuses."""

    value: Any
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int | None = None
    route: str = ""


@dataclass(frozen=True)
class Predictions(Answer):
    """One prediction for each row, in their order, and by which version.

    Where rows went different ways (`route` is "mixed"), `version` and `stage` are None and each
    prediction has its own.
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
