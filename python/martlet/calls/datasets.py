"""Saved training sets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import IO, Any

from martlet import frames
from martlet.answers import Dataset, DatasetVerdict
from martlet.calls.features import checked_names, spine_of
from martlet.errors import InternalError, InvalidArgumentError
from martlet.exchange import LONG_SECONDS, Call, Request, segment
from martlet.values import time_to_wire


def create_dataset(
    name: str,
    model: str | None,
    features: Sequence[str] | None,
    spine: Any,
    spine_sql: str | None,
    time: str,
    mode: str,
    as_of: datetime | str | None,
    definitions: int | None,
    timeout: float | None,
) -> Call[Dataset]:
    query: dict[str, str | None] = {"name": name}
    if as_of is not None:
        query["as_of"] = time_to_wire(as_of, "as_of")
    given = features is not None or spine is not None or spine_sql is not None
    if (model is None) == (not given) or (given and (spine is None) == (spine_sql is None)):
        raise InvalidArgumentError(
            "a dataset is of a model=, or of features= joined to one spine= or spine_sql="
        )
    body: bytes | Path | None = None
    if model is not None:
        query["model"] = model
    else:
        if features is None:
            raise InvalidArgumentError("features= names what is joined to the spine")
        query |= {"features": ",".join(checked_names(features)), "time": time, "mode": mode}
        query["definitions"] = None if definitions is None else str(int(definitions))
        if spine_sql is not None:
            body, query["spine_format"] = spine_sql.encode(), "sql"
        else:
            body, query["spine_format"], query["spine_name"] = spine_of(spine)
    response = yield Request(
        "POST",
        "/api/v1/datasets",
        query=query,
        body=body,
        content_type="application/octet-stream",
        # One that comes twice is kept twice.
        repeatable=False,
        timeout=timeout or LONG_SECONDS,
    )
    return Dataset.of(response.json)


def list_datasets(limit: int) -> Call[list[Dataset]]:
    response = yield Request("GET", "/api/v1/datasets", query={"limit": str(limit)})
    return [Dataset.of(found) for found in response.json["datasets"]]


def get_dataset(dataset: str | Dataset) -> Call[Dataset]:
    response = yield Request("GET", _path(dataset))
    return Dataset.of(response.json)


def verify_dataset(dataset: str | Dataset) -> Call[DatasetVerdict]:
    response = yield Request("POST", f"{_path(dataset)}/verify", timeout=LONG_SECONDS)
    return DatasetVerdict.of(response.json)


def read_dataset(dataset: str | Dataset, as_: str) -> Call[Any]:
    form = frames.checked_form(as_)
    response = yield _file(dataset, "parquet")
    return frames.from_arrow(frames.read_parquet(response.file), form)


def export_dataset(
    dataset: str | Dataset, path: str | PathLike[str], format: str | None
) -> Call[Path]:
    target = Path(path)
    kind = format or target.suffix.lstrip(".").lower()
    if kind not in ("csv", "parquet"):
        raise InvalidArgumentError(
            f"a dataset is exported as csv or parquet; end '{target.name}' in one, or say format="
        )
    response = yield _file(dataset, kind)
    save(response.file, target)
    return target


def save(file: IO[bytes] | None, target: Path) -> None:
    """Writes an answer beside its place and moves it there, so that there is all of it or none."""
    if file is None:
        raise InternalError("the answer was not written to a file")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with file, part.open("wb") as out:
            shutil.copyfileobj(file, out, 1 << 20)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InvalidArgumentError(f"{target} cannot be written: {error}") from error


def _file(dataset: str | Dataset, kind: str) -> Request:
    return Request(
        "GET",
        f"{_path(dataset)}/file",
        query={"format": kind},
        spooled=True,
        timeout=LONG_SECONDS,
    )


def _path(dataset: str | Dataset) -> str:
    name = dataset.id if isinstance(dataset, Dataset) else dataset
    return f"/api/v1/datasets/{segment(name)}"
