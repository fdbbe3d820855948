"""Models, predictions, training and jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from martlet.answers import DriftReport, Job, Model, ModelVersion, Predictions
from martlet.calls.features import rows_of
from martlet.errors import DeadlineExceededError, JobFailedError
from martlet.exchange import LONG_SECONDS, Call, Request, json_body, segment
from martlet.values import time_to_wire

Progress = Callable[[Job], None]


def list_models() -> Call[list[Model]]:
    response = yield Request("GET", "/api/v1/models")
    return [Model.of(model) for model in response.json["models"]]


def get_model(model: str) -> Call[Model]:
    response = yield Request("GET", f"/api/v1/models/{segment(model)}")
    return Model.of(response.json)


def get_version(model: str, version: int) -> Call[ModelVersion]:
    response = yield Request("GET", _version(model, version))
    return ModelVersion.of(response.json)


def set_stage(verb: str, model: str, version: int, who: str | None, why: str) -> Call[ModelVersion]:
    """`promote` or `archive`."""
    body = json_body({"who": who or "python", "why": why})
    path = f"{_version(model, version)}/{verb}"
    response = yield Request("POST", path, body=body, repeatable=False, timeout=LONG_SECONDS)
    return ModelVersion.of(response.json)


def predict(
    model: str,
    rows: Any,
    version: int | None,
    request_id: str | None,
    timeout: float | None,
) -> Call[Predictions]:
    asked: dict[str, Any] = {"rows": rows_of(rows, "rows")}
    if version is not None:
        asked["version"] = int(version)
    if request_id is not None:
        asked["request_id"] = request_id
    if timeout is not None:
        asked["timeout_ms"] = max(1, round(timeout * 1_000))
    response = yield Request(
        "POST",
        f"/api/v1/models/{segment(model)}/predict",
        body=json_body(asked),
        # The platform says in time that it was too long; the client only has to wait for that.
        timeout=None if timeout is None else timeout + 5,
    )
    return Predictions.of(response.json)


def train(
    model: str,
    as_of: datetime | str | None,
    promote: bool,
    reason: str | None,
    wait: bool,
    timeout: float | None,
    on_progress: Progress | None,
) -> Call[Job]:
    asked: dict[str, Any] = {"promote": promote, "idempotency_key": uuid4().hex}
    if as_of is not None:
        asked["as_of"] = time_to_wire(as_of, "as_of")
    if reason is not None:
        asked["reason"] = reason
    path = f"/api/v1/models/{segment(model)}/train"
    response = yield Request("POST", path, body=json_body(asked))
    job = Job.of(response.json)
    if not wait:
        return job
    job = yield from _end(job, timeout, on_progress)
    return job


def backfill(
    view: str,
    reason: str | None,
    rows_per_second: int | None,
    wait: bool,
    timeout: float | None,
    on_progress: Progress | None,
) -> Call[Job]:
    asked: dict[str, Any] = {}
    if reason is not None:
        asked["reason"] = reason
    if rows_per_second is not None:
        asked["rows_per_second"] = int(rows_per_second)
    path = f"/api/v1/views/{segment(view)}/backfill"
    response = yield Request("POST", path, body=json_body(asked), repeatable=False)
    job = Job.of(response.json)
    if not wait:
        return job
    job = yield from _end(job, timeout, on_progress)
    return job


def drift(model: str, window: str | None) -> Call[DriftReport]:
    response = yield Request(
        "POST",
        f"/api/v1/models/{segment(model)}/drift",
        query={"window": window},
        timeout=LONG_SECONDS,
    )
    return DriftReport.of(response.json)


def list_jobs(limit: int) -> Call[list[Job]]:
    response = yield Request("GET", "/api/v1/jobs", query={"limit": str(limit)})
    return [Job.of(job) for job in response.json["jobs"]]


def get_job(job: str | Job) -> Call[Job]:
    response = yield Request("GET", _job(job))
    return Job.of(response.json)


def wait_for_job(job: str | Job, timeout: float | None, on_progress: Progress | None) -> Call[Job]:
    seen = yield from get_job(job)
    end = yield from _end(seen, timeout, on_progress)
    return end


def change_job(job: str | Job, verb: str) -> Call[Job]:
    """`cancel` or `retry`."""
    response = yield Request("POST", f"{_job(job)}/{verb}", repeatable=False)
    return Job.of(response.json)


def _end(job: Job, timeout: float | None, on_progress: Progress | None) -> Call[Job]:
    """The job when it is over; the platform answers as soon as there is news."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while not job.done:
        if on_progress:
            on_progress(job)
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlineExceededError(
                f"job {job.id} still runs after {timeout:g} s ({job.progress or job.state}); "
                "wait_for_job goes on waiting, cancel_job ends it",
                retryable=True,
            )
        query: Mapping[str, str] = {"wait": "true", "seen": job.progress}
        response = yield Request("GET", _job(job), query=query)
        job = Job.of(response.json)
    if job.state != "COMPLETED":
        raise JobFailedError(
            f"job {job.id} ({job.kind} of '{job.model}') is {job.state}"
            + (f": {job.error}" if job.error else ""),
            job,
        )
    return job


def _version(model: str, version: int) -> str:
    return f"/api/v1/models/{segment(model)}/versions/{int(version)}"


def _job(job: str | Job) -> str:
    return f"/api/v1/jobs/{segment(job.id if isinstance(job, Job) else job)}"
