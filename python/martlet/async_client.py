"""The asynchronous client: the same calls as `Client`, awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path as FilePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import anyio.to_thread

from martlet.address import find_address, find_token
from martlet.answers import (
    Applied,
    Dataset,
    DatasetVerdict,
    Definitions,
    DriftReport,
    ErasureReceipt,
    Feature,
    FeatureSet,
    Freshness,
    IngestReport,
    Job,
    Lineage,
    Model,
    ModelVersion,
    OnlineFeatures,
    Plan,
    Predictions,
    PushReceipt,
    QuarantinedRecord,
    ReplayReport,
    Verification,
)
from martlet.calls import datasets, events, models, platform, warehouse
from martlet.calls import features as feature_calls
from martlet.errors import MartletError
from martlet.exchange import Call, Request, Response, advance
from martlet.frames import Form
from martlet.retries import RetryPolicy
from martlet.transport import AsyncTransport

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")
Frame = TypeVar("Frame")
Path = str | PathLike[str]


class AsyncClient:
    """A platform, called from any number of tasks of one event loop.

    `async with AsyncClient() as martlet:` closes it.

    Connections are made with the first call and kept for the next ones. A call that the platform
    refuses as overloaded, or that cannot connect, is sent again after a random wait that grows; a
    call that may have been done already only if doing it twice is like doing it once. Errors are
    `MartletError`s, by the platform's own table of codes.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
    ) -> None:
        """Where the platform is, and how to call it.

        - `address`: like `http://127.0.0.1:8080`; else `MARTLET_ADDRESS`, else the platform that
          runs on `martlet-data` in this folder, else port 8080 of this machine.
        - `token`: else `MARTLET_SERVER_TOKEN`, else the file `MARTLET_SERVER_TOKEN_FILE`.
        - `timeout`: seconds of silence before a call fails; reads of history, files, SQL and the
          like have an hour.
        - `retries`: attempts after the first.
        """
        self._transport = AsyncTransport(
            find_address(address),
            find_token(token),
            timeout,
            RetryPolicy(attempts=1 + max(0, retries)),
        )
        self._memory = feature_calls.FeatureMemory()
        self._numbers = events.RecordNumbers()

    @property
    def address(self) -> str:
        return self._transport.address

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        await self._transport.close()

    async def _run(self, call: Call[T]) -> T:
        try:
            step = advance(call, None)
            while isinstance(step, Request):
                step = advance(call, await self._answer(step))
            return step.value
        finally:
            call.close()

    async def _work(self, call: Call[T]) -> T:
        """Like `_run`, for calls that convert tables: threads do it, the event loop goes on."""
        in_thread = anyio.to_thread.run_sync
        try:
            step = await in_thread(advance, call, None)
            while isinstance(step, Request):
                step = await in_thread(advance, call, await self._answer(step))
            return step.value
        finally:
            call.close()

    async def _answer(self, request: Request) -> Response | MartletError:
        try:
            return await self._transport.send(request)
        except MartletError as error:
            return error

    # MARK: features

    async def list_features(self) -> list[Feature]:
        """Every feature in force, with its type, entity and key columns."""
        return await self._run(feature_calls.list_features())

    async def list_feature_sets(self) -> list[FeatureSet]:
        """The named sets of features: those that a model reads, under its name."""
        return await self._run(feature_calls.list_feature_sets())

    async def get_online(
        self, features: Sequence[str] | str, entities: Any, *, timeout: float | None = None
    ) -> OnlineFeatures:
        """The features of each entity key as of now.

        `features` are names as `view.feature`, or the name of one feature set. `entities` is a
        dictionary of key columns, several, or a data frame. A push that has been acknowledged is
        seen. Unknown keys are no error: their values are null or 0, their status is `not_found`.
        """
        return await self._run(feature_calls.get_online(self._memory, features, entities, timeout))

    @overload
    async def get_history(
        self,
        spine: Path,
        features: Sequence[str] | str,
        *,
        time: str = ...,
        mode: str = ...,
        as_: None = None,
        timeout: float | None = ...,
    ) -> pd.DataFrame: ...
    @overload
    async def get_history(
        self,
        spine: Frame,
        features: Sequence[str] | str,
        *,
        time: str = ...,
        mode: str = ...,
        as_: None = None,
        timeout: float | None = ...,
    ) -> Frame: ...
    @overload
    async def get_history(
        self,
        spine: Any,
        features: Sequence[str] | str,
        *,
        time: str = ...,
        mode: str = ...,
        as_: Literal["pandas"],
        timeout: float | None = ...,
    ) -> pd.DataFrame: ...
    @overload
    async def get_history(
        self,
        spine: Any,
        features: Sequence[str] | str,
        *,
        time: str = ...,
        mode: str = ...,
        as_: Literal["polars"],
        timeout: float | None = ...,
    ) -> pl.DataFrame: ...
    @overload
    async def get_history(
        self,
        spine: Any,
        features: Sequence[str] | str,
        *,
        time: str = ...,
        mode: str = ...,
        as_: Literal["arrow"],
        timeout: float | None = ...,
    ) -> pa.Table: ...
    async def get_history(
        self,
        spine: Any,
        features: Sequence[str] | str,
        *,
        time: str = "event_timestamp",
        mode: str = "as_corrected",
        as_: Form | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The spine with one column more for each feature, as of each row's own time.

        `features` are names as `view.feature`, or the name of one feature set.
        The rows stay as they are: each once, in their order, with all their columns and their
        index. `spine` is a table of pandas, Polars or Arrow with the key columns and a column
        `time` that has a zone, or the path of a CSV or Parquet file; the answer is of the same
        kind unless `as_` says another (of a file: pandas). `mode="as_known"` shows only what the
        platform had stored by each row's time.
        """
        call = feature_calls.get_history(self._memory, spine, features, time, mode, as_, timeout)
        return await self._work(call)

    async def verify(
        self,
        model: str | None = None,
        *,
        window: str | None = None,
        sample: int | None = None,
        threshold: float | None = None,
        live: bool = False,
        views: Sequence[str] | None = None,
    ) -> Verification:
        """Compares served feature values with what the warehouse says they should have been.

        A sample of the predictions logged within `window` (of one model, or all), or with `live`
        of reads made now (of some views, or all). `verification.passed` says whether at most the
        share `threshold` of the values differs.
        """
        call = feature_calls.verify(model, window, sample, threshold, live, views)
        return await self._run(call)

    async def freshness(self, views: Sequence[str] | None = None) -> list[Freshness]:
        """How new the newest event is that each view has applied."""
        return await self._run(feature_calls.freshness(views))

    # MARK: events

    async def push(
        self,
        source: str,
        records: Mapping[str, Any] | Iterable[Mapping[str, Any]] | Any,
        *,
        client: str | None = None,
        sequence: int | None = None,
    ) -> PushReceipt:
        """Stores events: one dictionary, several, or a data frame.

        When it returns they are stored and online reads see them; what could not be an event is in
        quarantine, with the reasons in the receipt. Many records go in batches, each stored wholly
        or not at all. Records are numbered, so that one that is sent again after a lost answer
        counts once; give `client` and `sequence` (the number of the first) to keep that across
        restarts of your program. A null is an observation of null, a missing name none.
        """
        return await self._work(events.push(source, records, self._numbers, client, sequence))

    async def push_labels(
        self, model: str, records: Mapping[str, Any] | Iterable[Mapping[str, Any]] | Any
    ) -> PushReceipt:
        """Pushes to the source from which the model's definition takes its label."""
        return await self._work(events.push_labels(model, records, self._numbers))

    async def ingest(
        self,
        source: str,
        data: Any,
        *,
        name: str | None = None,
        format: str | None = None,
        strict: bool = False,
        on_progress: Callable[[float, int], None] | None = None,
    ) -> IngestReport:
        """Stores a file of events (CSV, Parquet, JSON lines), or a data frame as Parquet.

        The same content is stored once. Bad rows go to quarantine; with `strict` one of them is
        enough to refuse all. `on_progress` is told the share that is done and the rows so far.
        """
        return await self._work(events.ingest(source, data, name, format, strict, on_progress))

    async def list_quarantine(
        self,
        source: str | None = None,
        *,
        reason: str | None = None,
        since: datetime | str | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> list[QuarantinedRecord]:
        """Records that became no events, newest first, whole and with the reason.

        `reason` is a text in it or a kind; `since` a time or a length like `1h`; `status` is
        `waiting` (the default), `replayed`, `discarded` or `all`.
        """
        return await self._run(events.list_quarantine(source, reason, since, status, limit))

    async def get_quarantined(self, record: int) -> QuarantinedRecord:
        """One quarantined record by its id."""
        return await self._run(events.get_quarantined(record))

    async def replay_quarantine(
        self,
        ids: Sequence[int] | None = None,
        *,
        source: str | None = None,
        reason: str | None = None,
        since: datetime | str | None = None,
        set: Mapping[str, Any] | None = None,
        records: Mapping[int, Mapping[str, Any] | str] | None = None,
    ) -> ReplayReport:
        """Sends records through ingest again: with `set`, with fields corrected in all of them; or
        with `records`, each replaced by a corrected one, by id."""
        return await self._run(events.replay_quarantine(ids, source, reason, since, set, records))

    async def discard_quarantine(
        self,
        ids: Sequence[int] | None = None,
        *,
        source: str | None = None,
        reason: str | None = None,
        since: datetime | str | None = None,
    ) -> int:
        """Gives records up, and says how many."""
        return await self._run(events.discard_quarantine(ids, source, reason, since))

    async def erase(self, entity: str, key: Any, *, without_absent: bool = False) -> ErasureReceipt:
        """Removes an entity key from every store; `key` is its value, values, or a dictionary."""
        return await self._run(platform.erase(entity, key, without_absent))

    async def list_erasures(self, *, limit: int = 50) -> list[ErasureReceipt]:
        """The newest erasures; of a key that was erased its digest remains, not the key."""
        return await self._run(platform.list_erasures(limit))

    # MARK: datasets

    async def create_dataset(
        self,
        name: str,
        *,
        model: str | None = None,
        features: Sequence[str] | None = None,
        spine: Any = None,
        spine_sql: str | None = None,
        time: str = "event_timestamp",
        mode: str = "as_corrected",
        as_of: datetime | str | None = None,
        definitions: int | None = None,
        timeout: float | None = None,
    ) -> Dataset:
        """Saves a training set, which later events, corrections and definitions do not change.

        Of a `model`, what it would learn from; or `features` joined to a `spine` (a table, or the
        path of a CSV or Parquet file) or to the rows of `spine_sql`. `as_of` leaves out what was
        stored later, `definitions` is an earlier version of them.
        """
        call = datasets.create_dataset(
            name, model, features, spine, spine_sql, time, mode, as_of, definitions, timeout
        )
        return await self._work(call)

    async def list_datasets(self, *, limit: int = 50) -> list[Dataset]:
        """The newest saved training sets, also those that trainings saved."""
        return await self._run(datasets.list_datasets(limit))

    async def get_dataset(self, dataset: str | Dataset) -> Dataset:
        """One saved set by its id, or by its name: then the newest of it."""
        return await self._run(datasets.get_dataset(dataset))

    @overload
    async def read_dataset(self, dataset: str | Dataset) -> pd.DataFrame: ...
    @overload
    async def read_dataset(
        self, dataset: str | Dataset, *, as_: Literal["pandas"]
    ) -> pd.DataFrame: ...
    @overload
    async def read_dataset(
        self, dataset: str | Dataset, *, as_: Literal["polars"]
    ) -> pl.DataFrame: ...
    @overload
    async def read_dataset(self, dataset: str | Dataset, *, as_: Literal["arrow"]) -> pa.Table: ...
    async def read_dataset(self, dataset: str | Dataset, *, as_: Form = "pandas") -> Any:
        """The rows of a saved set as a table."""
        return await self._work(datasets.read_dataset(dataset, as_))

    async def export_dataset(
        self, dataset: str | Dataset, path: Path, *, format: str | None = None
    ) -> FilePath:
        """Writes a saved set to a file, whole or not at all; by its ending, `csv` or `parquet`."""
        return await self._work(datasets.export_dataset(dataset, path, format))

    async def verify_dataset(self, dataset: str | Dataset) -> DatasetVerdict:
        """Computes a saved set again and compares: `reproduced` says that its rows are the same."""
        return await self._run(datasets.verify_dataset(dataset))

    # MARK: definitions

    async def plan(self, project: Path = ".", *, directory: Path | None = None) -> Plan:
        """What `apply` would change; `project` is a folder with martlet.yaml, or the file.

        `directory` is where the platform finds its Python files, if that is elsewhere.
        """
        return await self._run(platform.plan(project, directory))

    async def apply(
        self, project: Path = ".", *, author: str | None = None, directory: Path | None = None
    ) -> Applied:
        """Puts the definitions in force, atomically; refused where that would break something."""
        self._memory.forget()
        return await self._run(platform.apply(project, directory, author))

    async def get_definitions(self) -> Definitions:
        """The definitions in force."""
        return await self._run(platform.get_definitions())

    async def lineage(self, name: str, direction: str = "both") -> Lineage:
        """What something was made from (`upstream`) and what uses it (`downstream`), as a graph."""
        return await self._run(platform.lineage(name, direction))

    async def lineage_text(
        self, name: str, direction: str = "both", *, format: str = "text"
    ) -> str:
        """The same drawn as text, or as Graphviz `dot`."""
        return await self._run(platform.lineage_text(name, direction, format))

    # MARK: models and jobs

    async def predict(
        self,
        model: str,
        rows: Any,
        *,
        version: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Predictions:
        """A prediction for each row of key columns and inputs: a dictionary, several, or a frame.

        By the version in production, or by `version`. Every prediction is logged.
        """
        return await self._run(models.predict(model, rows, version, request_id, timeout))

    async def list_models(self) -> list[Model]:
        """The models in force with their versions."""
        return await self._run(models.list_models())

    async def get_model(self, model: str) -> Model:
        """One model with its versions."""
        return await self._run(models.get_model(model))

    async def get_version(self, model: str, version: int) -> ModelVersion:
        """One version of a model."""
        return await self._run(models.get_version(model, version))

    async def promote(
        self, model: str, version: int, *, who: str | None = None, why: str = ""
    ) -> ModelVersion:
        """Makes a version production; serving follows without a restart."""
        return await self._run(models.set_stage("promote", model, version, who, why))

    async def archive(
        self, model: str, version: int, *, who: str | None = None, why: str = ""
    ) -> ModelVersion:
        """Takes a version out of use."""
        return await self._run(models.set_stage("archive", model, version, who, why))

    async def train(
        self,
        model: str,
        *,
        as_of: datetime | str | None = None,
        promote: bool = False,
        reason: str | None = None,
        wait: bool = True,
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Trains a version and, unless `wait` is false, waits for it; `job.version` is its number.

        A failed job raises `JobFailedError`; one that outlasts `timeout` goes on.
        """
        call = models.train(model, as_of, promote, reason, wait, timeout, on_progress)
        return await self._run(call)

    async def backfill(
        self,
        view: str,
        *,
        reason: str | None = None,
        rows_per_second: int | None = None,
        wait: bool = True,
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Computes the online state of a view (or of a feature's view) anew from raw events.

        What is read is the old state until the new one takes its place at once; ingest goes on.
        `rows_per_second` slows it down. Unless `wait` is false it is waited for; `get_job` tells
        how far it is, `cancel_job` ends it. A failed one raises `JobFailedError`.
        """
        call = models.backfill(view, reason, rows_per_second, wait, timeout, on_progress)
        return await self._run(call)

    async def drift(self, model: str, *, window: str | None = None) -> DriftReport:
        """How far live inputs and predictions are from the training set."""
        return await self._run(models.drift(model, window))

    async def list_jobs(self, *, limit: int = 50) -> list[Job]:
        """The newest jobs."""
        return await self._run(models.list_jobs(limit))

    async def get_job(self, job: str | Job) -> Job:
        """A job as it is now."""
        return await self._run(models.get_job(job))

    async def wait_for_job(
        self,
        job: str | Job,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """The job when it has succeeded; raises `JobFailedError` where it has not."""
        return await self._run(models.wait_for_job(job, timeout, on_progress))

    async def cancel_job(self, job: str | Job) -> Job:
        """Ends a job that waits or runs."""
        return await self._run(models.change_job(job, "cancel"))

    async def retry_job(self, job: str | Job) -> Job:
        """Runs a job again that failed or was cancelled."""
        return await self._run(models.change_job(job, "retry"))

    # MARK: the rest

    @overload
    async def sql(self, query: str) -> pd.DataFrame: ...
    @overload
    async def sql(self, query: str, *, as_: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    async def sql(self, query: str, *, as_: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    async def sql(self, query: str, *, as_: Literal["arrow"]) -> pa.Table: ...
    async def sql(self, query: str, *, as_: Form = "pandas") -> Any:
        """A read-only query over the warehouse as a table, of all its rows.

        For results that do not fit in memory here there is `export_sql`.
        """
        return await self._work(warehouse.sql(query, as_))

    async def export_sql(self, query: str, path: Path, *, format: str | None = None) -> int:
        """Writes the rows of a read-only query to a file, however many, and says how many.

        By its ending, `csv` or `parquet`; the file is there whole or not at all. Neither the
        platform nor this program holds the result in memory.
        """
        return await self._work(warehouse.export_sql(query, path, format))

    async def status(self) -> dict[str, Any]:
        """What runs and how it is."""
        return await self._run(platform.status())
