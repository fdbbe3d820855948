"""Events on their way in: pushes, files, labels, and what was refused of them."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from martlet import frames
from martlet.answers import IngestReport, PushReceipt, QuarantinedRecord, ReplayReport
from martlet.errors import InvalidArgumentError, MartletError, NotFoundError
from martlet.exchange import LONG_SECONDS, Call, Request, json_body, segment
from martlet.values import row_to_wire, time_to_wire, to_wire

BATCH_ROWS = 5_000
BATCH_BYTES = 8 << 20

LINES = "application/x-ndjson"


class RecordNumbers:
    """Numbers for pushed records, by which the platform knows one again that is sent twice.

    Unique as long as the process lives; a forked process counts under a name of its own.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._client = f"python-{uuid4().hex}"
        self._next = 1

    def take(self, count: int) -> tuple[str, int]:
        """The client's name and the first of `count` numbers that nobody else gets."""
        with self._lock:
            if self._process != os.getpid():
                self._begin()
            first = self._next
            self._next += count
            return self._client, first


def push(
    source: str,
    records: Any,
    numbers: RecordNumbers,
    client: str | None,
    sequence: int | None,
) -> Call[PushReceipt]:
    """Sends batch after batch; a failure tells what the batches before it came to."""
    if (client is None) != (sequence is None):
        raise InvalidArgumentError(
            "client and sequence belong together: who sends, and the number of the first record"
        )
    receipt = PushReceipt()
    try:
        for lines in _batches(records):
            if client is None or sequence is None:
                name, first = numbers.take(len(lines))
            else:
                name, first = client, sequence
                sequence += len(lines)
            response = yield Request(
                "POST",
                f"/api/v1/sources/{segment(source)}/events",
                query={"client": name, "sequence": str(first)},
                body=b"\n".join(lines),
                content_type=LINES,
            )
            receipt += PushReceipt.of(response.json)
    except MartletError as error:
        error.receipt = receipt
        raise
    return receipt


def _batches(records: Any) -> Iterator[list[bytes]]:
    """The records as lines of JSON, in batches of bounded size."""
    batch: list[bytes] = []
    size = 0
    for line in map(_line, _rows(records), itertools.count(1)):
        if batch and (len(batch) == BATCH_ROWS or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _rows(records: Any) -> Iterable[Any]:
    if frames.form_of(records):
        return itertools.chain.from_iterable(frames.batches(records, BATCH_ROWS))
    if isinstance(records, Mapping):
        return [records]
    if isinstance(records, str | bytes) or not isinstance(records, Iterable):
        raise InvalidArgumentError(
            "records must be a dictionary, dictionaries or a data frame, "
            f"not {type(records).__name__}; a file goes by ingest"
        )
    return records


def _line(row: Any, number: int) -> bytes:
    return json_body(row_to_wire(row, f"record {number}"))


def ingest(
    source: str,
    data: Any,
    name: str | None,
    file_format: str | None,
    strict: bool,
    on_progress: Callable[[float, int], None] | None,
) -> Call[IngestReport]:
    if frames.form_of(data):
        if file_format not in (None, "parquet"):
            raise InvalidArgumentError("a data frame goes as Parquet; leave out format")
        with tempfile.TemporaryDirectory(prefix="martlet-") as folder:
            path = Path(folder) / "frame.parquet"
            frames.write_parquet(data, path)
            report = yield from _upload(
                source, path, name or "frame.parquet", "parquet", strict, on_progress
            )
        return report
    if not isinstance(data, str | os.PathLike):
        raise InvalidArgumentError(
            f"ingest takes the path of a file or a data frame, not {type(data).__name__}"
        )
    path = Path(data)
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    report = yield from _upload(source, path, name or path.name, file_format, strict, on_progress)
    return report


def _upload(
    source: str,
    path: Path,
    name: str,
    file_format: str | None,
    strict: bool,
    on_progress: Callable[[float, int], None] | None,
) -> Call[IngestReport]:
    def tell(line: Any) -> None:
        if on_progress and "progress" in line:
            on_progress(float(line["progress"]), int(line["rows"]))

    response = yield Request(
        "POST",
        f"/api/v1/sources/{segment(source)}/files",
        query={"name": name, "format": file_format, "strict": "true" if strict else None},
        body=path,
        content_type="application/octet-stream",
        on_line=tell,
        timeout=LONG_SECONDS,
    )
    return IngestReport.of(response.json)


def push_labels(model: str, records: Any, numbers: RecordNumbers) -> Call[PushReceipt]:
    """Labels are events of the source that the model's definition takes its label from."""
    response = yield Request("GET", "/api/v1/definitions")
    models = {item["name"]: item for item in response.json["project"].get("models", [])}
    if model not in models:
        known = ", ".join(sorted(models)) or "none"
        raise NotFoundError(f"there is no model '{model}'; known: {known}")
    label = models[model].get("label")
    if not label:
        raise InvalidArgumentError(f"model '{model}' has no label in martlet.yaml; add one")
    receipt = yield from push(label["source"], records, numbers, None, None)
    return receipt


# MARK: quarantine


def list_quarantine(
    source: str | None,
    reason: str | None,
    since: datetime | str | None,
    status: str | None,
    limit: int,
) -> Call[list[QuarantinedRecord]]:
    query = {
        "source": source,
        "reason": reason,
        "since": None if since is None else time_to_wire(since, "since"),
        "status": status,
        "limit": str(limit),
    }
    response = yield Request("GET", "/api/v1/quarantine", query=query)
    return [QuarantinedRecord.of(record) for record in response.json["records"]]


def get_quarantined(record: int) -> Call[QuarantinedRecord]:
    response = yield Request("GET", f"/api/v1/quarantine/{int(record)}")
    return QuarantinedRecord.of(response.json)


def replay_quarantine(
    ids: Sequence[int] | None,
    source: str | None,
    reason: str | None,
    since: datetime | str | None,
    values: Mapping[str, Any] | None,
    records: Mapping[int, Mapping[str, Any] | str] | None,
) -> Call[ReplayReport]:
    body = _choice(ids, source, reason, since)
    if values:
        body["set"] = {name: to_wire(value, name) for name, value in values.items()}
    if records:
        body["records"] = [
            {
                "id": int(number),
                "record": record if isinstance(record, str) else row_to_wire(record, "a record"),
            }
            for number, record in records.items()
        ]
    response = yield Request(
        "POST",
        "/api/v1/quarantine/replay",
        body=json_body(body),
        repeatable=False,
        timeout=LONG_SECONDS,
    )
    return ReplayReport.of(response.json)


def discard_quarantine(
    ids: Sequence[int] | None,
    source: str | None,
    reason: str | None,
    since: datetime | str | None,
) -> Call[int]:
    body = json_body(_choice(ids, source, reason, since))
    response = yield Request("POST", "/api/v1/quarantine/discard", body=body, repeatable=False)
    return int(response.json["discarded"])


def _choice(
    ids: Sequence[int] | None,
    source: str | None,
    reason: str | None,
    since: datetime | str | None,
) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "ids": None if ids is None else [int(number) for number in ids],
        "source": source,
        "reason": reason,
        "since": None if since is None else time_to_wire(since, "since"),
    }
    return {name: value for name, value in chosen.items() if value is not None}
