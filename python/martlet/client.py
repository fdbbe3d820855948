"""The synchronous client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path as FilePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

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
from martlet.transport import Transport

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")
Frame = TypeVar("Frame")
Path = str | PathLike[str]


class Client:
    """A platform, called from any number of threads.

    `with Client() as martlet:` closes it.

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
        self._transport = Transport(
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        self._transport.close()

    def _run(self, call: Call[T]) -> T:
        try:
            step = advance(call, None)
            while isinstance(step, Request):
                answer: Response | MartletError
                try:
                    answer = self._transport.send(step)
                except MartletError as error:
                    answer = error
                step = advance(call, answer)
            return step.value
        finally:
            call.close()

    def _work(self, call: Call[T]) -> T:
        """Like `_run`, for calls that convert tables."""
        return self._run(call)

    # MARK: features

    def list_features(self) -> list[Feature]:
        """Every feature in force, with its type, entity and key columns."""
        return self._run(feature_calls.list_features())

    def list_feature_sets(self) -> list[FeatureSet]:
        """The named sets of features: those that a model reads, under its name."""
        return self._run(feature_calls.list_feature_sets())

    def get_online(
        self, features: Sequence[str] | str, entities: Any, *, timeout: float | None = None
    ) -> OnlineFeatures:
        """The features of each entity key as of now.

        `features` are names as `view.feature`, or the name of one feature set. `entities` is a
        dictionary of key columns, several, or a data frame. A push that has been acknowledged is
        seen. Unknown keys are no error: their values are null or 0, their status is `not_found`.
        """
        return self._run(feature_calls.get_online(self._memory, features, entities, timeout))

    @overload
    def get_history(
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
    def get_history(
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
    def get_history(
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
    def get_history(
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
    def get_history(
        self,
        spine: Any,
        features: Sequence[str] | str,
        *,
        time: str = ...,
        mode: str = ...,
        as_: Literal["arrow"],
        timeout: float | None = ...,
    ) -> pa.Table: ...
    def get_history(
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
        return self._work(call)

    def verify(
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
        return self._run(call)

    def freshness(self, views: Sequence[str] | None = None) -> list[Freshness]:
        """How new the newest event is that each view has applied."""
        return self._run(feature_calls.freshness(views))

    # MARK: events

    def push(
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
        return self._work(events.push(source, records, self._numbers, client, sequence))

    def push_labels(
        self, model: str, records: Mapping[str, Any] | Iterable[Mapping[str, Any]] | Any
    ) -> PushReceipt:
        """Pushes to the source from which the model's definition takes its label."""
        return self._work(events.push_labels(model, records, self._numbers))

    def ingest(
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
        return self._work(events.ingest(source, data, name, format, strict, on_progress))

    def list_quarantine(
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
        return self._run(events.list_quarantine(source, reason, since, status, limit))

    def get_quarantined(self, record: int) -> QuarantinedRecord:
        """One quarantined record by its id."""
        return self._run(events.get_quarantined(record))

    def replay_quarantine(
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
        return self._run(events.replay_quarantine(ids, source, reason, since, set, records))

    def discard_quarantine(
        self,
        ids: Sequence[int] | None = None,
        *,
        source: str | None = None,
        reason: str | None = None,
        since: datetime | str | None = None,
    ) -> int:
        """Gives records up, and says how many."""
        return self._run(events.discard_quarantine(ids, source, reason, since))

    def erase(self, entity: str, key: Any, *, without_absent: bool = False) -> ErasureReceipt:
        """Removes an entity key from every store; `key` is its value, values, or a dictionary."""
        return self._run(platform.erase(entity, key, without_absent))

    def list_erasures(self, *, limit: int = 50) -> list[ErasureReceipt]:
        """The newest erasures; of a key that was erased its digest remains, not the key."""
        return self._run(platform.list_erasures(limit))

    # MARK: datasets

    def create_dataset(
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
        return self._work(call)

    def list_datasets(self, *, limit: int = 50) -> list[Dataset]:
        """The newest saved training sets, also those that trainings saved."""
        return self._run(datasets.list_datasets(limit))

    def get_dataset(self, dataset: str | Dataset) -> Dataset:
        """One saved set by its id, or by its name: then the newest of it."""
        return self._run(datasets.get_dataset(dataset))

    @overload
    def read_dataset(self, dataset: str | Dataset) -> pd.DataFrame: ...
    @overload
    def read_dataset(self, dataset: str | Dataset, *, as_: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def read_dataset(self, dataset: str | Dataset, *, as_: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    def read_dataset(self, dataset: str | Dataset, *, as_: Literal["arrow"]) -> pa.Table: ...
    def read_dataset(self, dataset: str | Dataset, *, as_: Form = "pandas") -> Any:
        """The rows of a saved set as a table."""
        return self._work(datasets.read_dataset(dataset, as_))

    def export_dataset(
        self, dataset: str | Dataset, path: Path, *, format: str | None = None
    ) -> FilePath:
        """Writes a saved set to a file, whole or not at all; by its ending, `csv` or `parquet`."""
        return self._work(datasets.export_dataset(dataset, path, format))

    def verify_dataset(self, dataset: str | Dataset) -> DatasetVerdict:
        """Computes a saved set again and compares: `reproduced` says that its rows are the same."""
        return self._run(datasets.verify_dataset(dataset))

    # MARK: definitions

    def plan(self, project: Path = ".", *, directory: Path | None = None) -> Plan:
        """What `apply` would change; `project` is a folder with martlet.yaml, or the file.

        `directory` is where the platform finds its Python files, if that is elsewhere.
        """
        return self._run(platform.plan(project, directory))

    def apply(
        self, project: Path = ".", *, author: str | None = None, directory: Path | None = None
    ) -> Applied:
        """Puts the definitions in force, atomically; refused where that would break something."""
        self._memory.forget()
        return self._run(platform.apply(project, directory, author))

    def get_definitions(self) -> Definitions:
        """The definitions in force."""
        return self._run(platform.get_definitions())

    def lineage(self, name: str, direction: str = "both") -> Lineage:
        """What something was made from (`upstream`) and what uses it (`downstream`), as a graph."""
        return self._run(platform.lineage(name, direction))

    def lineage_text(self, name: str, direction: str = "both", *, format: str = "text") -> str:
        """The same drawn as text, or as Graphviz `dot`."""
        return self._run(platform.lineage_text(name, direction, format))

    # MARK: models and jobs

    def predict(
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
        return self._run(models.predict(model, rows, version, request_id, timeout))

    def list_models(self) -> list[Model]:
        """The models in force with their versions."""
        return self._run(models.list_models())

    def get_model(self, model: str) -> Model:
        """One model with its versions."""
        return self._run(models.get_model(model))

    def get_version(self, model: str, version: int) -> ModelVersion:
        """One version of a model."""
        return self._run(models.get_version(model, version))

    def promote(
        self, model: str, version: int, *, who: str | None = None, why: str = ""
    ) -> ModelVersion:
        """Makes a version production; serving follows without a restart."""
        return self._run(models.set_stage("promote", model, version, who, why))

    def archive(
        self, model: str, version: int, *, who: str | None = None, why: str = ""
    ) -> ModelVersion:
        """Takes a version out of use."""
        return self._run(models.set_stage("archive", model, version, who, why))

    def train(
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
        return self._run(call)

    def backfill(
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
        return self._run(call)

    def drift(self, model: str, *, window: str | None = None) -> DriftReport:
        """How far live inputs and predictions are from the training set."""
        return self._run(models.drift(model, window))

    def list_jobs(self, *, limit: int = 50) -> list[Job]:
        """The newest jobs."""
        return self._run(models.list_jobs(limit))

    def get_job(self, job: str | Job) -> Job:
        """A job as it is now."""
        return self._run(models.get_job(job))

    def wait_for_job(
        self,
        job: str | Job,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """The job when it has succeeded; raises `JobFailedError` where it has not."""
        return self._run(models.wait_for_job(job, timeout, on_progress))

    def cancel_job(self, job: str | Job) -> Job:
        """Ends a job that waits or runs."""
        return self._run(models.change_job(job, "cancel"))

    def retry_job(self, job: str | Job) -> Job:
        """Runs a job again that failed or was cancelled."""
        return self._run(models.change_job(job, "retry"))

    # MARK: the rest

    @overload
    def sql(self, query: str) -> pd.DataFrame: ...
    @overload
    def sql(self, query: str, *, as_: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def sql(self, query: str, *, as_: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    def sql(self, query: str, *, as_: Literal["arrow"]) -> pa.Table: ...
    def sql(self, query: str, *, as_: Form = "pandas") -> Any:
        """A read-only query over the warehouse as a table, of all its rows.

        For results that do not fit in memory here there is `export_sql`.
        """
        return self._work(warehouse.sql(query, as_))

    def export_sql(self, query: str, path: Path, *, format: str | None = None) -> int:
        """Writes the rows of a read-only query to a file, however many, and says how many.

        By its ending, `csv` or `parquet`; the file is there whole or not at all. Neither the
        platform nor this program holds the result in memory.
        """
        return self._work(warehouse.export_sql(query, path, format))

    def status(self) -> dict[str, Any]:
        """What runs and how it is."""
        return self._run(platform.status())
