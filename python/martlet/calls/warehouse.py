"""Read-only looks into the warehouse."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from martlet import frames
from martlet.calls.datasets import save
from martlet.errors import InvalidArgumentError
from martlet.exchange import LONG_SECONDS, Call, Request, json_body


def sql(query: str, as_: str) -> Call[Any]:
    form = frames.checked_form(as_)
    if query.lstrip()[:7].lower() == "explain":  # its answer is no table of a file
        told = (yield _request(query, "json")).json
        columns = {
            name: [row[at] for row in told["rows"]] for at, name in enumerate(told["columns"])
        }
        return frames.from_arrow(frames.table_of(columns, {}), form)
    response = yield _request(query, "parquet")
    table = frames.with_plain_numbers(frames.read_parquet(response.file))
    return frames.from_arrow(table, form)


def export_sql(query: str, path: str | PathLike[str], format: str | None) -> Call[int]:
    target = Path(path)
    kind = format or target.suffix.lstrip(".").lower()
    if kind not in ("csv", "parquet"):
        raise InvalidArgumentError(
            f"a result is written as csv or parquet; end '{target.name}' in one, or say format="
        )
    response = yield _request(query, kind)
    save(response.file, target)
    return int(response.headers.get("martlet-rows", "0"))


def _request(query: str, kind: str) -> Request:
    return Request(
        "POST",
        "/api/v1/sql",
        query={"format": kind},
        body=json_body({"sql": query}),
        spooled=kind != "json",
        timeout=LONG_SECONDS,
    )
