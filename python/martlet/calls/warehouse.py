"""Read-only looks into the warehouse."""

from __future__ import annotations

import warnings
from typing import Any

from martlet import frames
from martlet.errors import MartletError
from martlet.exchange import LONG_SECONDS, Call, Request, json_body
from martlet.values import from_wire


class TruncatedResult(UserWarning):
    """A query had more rows than the platform answers; the rest is missing."""


def sql(query: str, as_: str) -> Call[Any]:
    form = frames.checked_form(as_)
    response = yield _request(query)
    found = response.json
    try:
        described = yield _request(f"DESCRIBE {query}")
        types = {row[0]: str(row[1]) for row in described.json["rows"]}
    except MartletError:
        types = {}  # of what is no SELECT; then the values tell
    columns: dict[str, list[Any]] = {}
    names = list(found["columns"]) or list(types)  # of no rows the answer names no columns
    for index, name in enumerate(names):
        kind = types.get(name, "")
        read = _kind(kind)
        columns[_unique(name, columns)] = [from_wire(row[index], read) for row in found["rows"]]
    if found["truncated"]:
        warnings.warn(
            f"the query has more than {len(found['rows']):,} rows; these are the first ones. "
            "Aggregate, filter or use LIMIT",
            TruncatedResult,
            stacklevel=6,  # past the driving of the call, to the line that asked
        )
    known = {name: arrow for name in columns if (arrow := frames.sql_type(types.get(name, "")))}
    return frames.from_arrow(frames.table_of(columns, known), form)


def _request(query: str) -> Request:
    return Request("POST", "/api/v1/sql", body=json_body({"sql": query}), timeout=LONG_SECONDS)


def _kind(kind: str) -> str | None:
    """The platform's name of what a DuckDB type comes as, where its JSON does not tell."""
    scalar, _, rest = kind.partition("[")
    suffix = "[]" if rest else ""
    if scalar.startswith(("TIMESTAMP", "DATE")):
        return "timestamp" + suffix
    return "double" + suffix if scalar in ("DOUBLE", "FLOAT") else None


def _unique(name: str, taken: dict[str, Any]) -> str:
    """A column's name; SQL may give one twice, tables may not have it so."""
    chosen, number = name, 1
    while chosen in taken:
        chosen, number = f"{name}_{number}", number + 1
    return chosen
