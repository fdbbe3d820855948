"""Definitions, lineage, status, erasure."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from martlet.answers import Applied, Definitions, ErasureReceipt, Lineage, Plan
from martlet.errors import InvalidArgumentError, NotFoundError
from martlet.exchange import LONG_SECONDS, Call, Request, json_body, segment
from martlet.values import row_to_wire, to_wire

DIRECTIONS = ("upstream", "downstream", "both")


def status() -> Call[dict[str, Any]]:
    response = yield Request("GET", "/api/v1/status")
    return dict(response.json)


def plan(project: str | PathLike[str], directory: str | PathLike[str] | None) -> Call[Plan]:
    body = _definitions(project, directory)
    response = yield Request("POST", "/api/v1/definitions/plan", body=json_body(body))
    answer = response.json
    return Plan.of({**answer, **answer.get("plan", {})})


def apply(
    project: str | PathLike[str], directory: str | PathLike[str] | None, author: str | None
) -> Call[Applied]:
    body = _definitions(project, directory) | {"author": author or _user()}
    response = yield Request(
        "POST",
        "/api/v1/definitions/apply",
        body=json_body(body),
        repeatable=False,
        timeout=LONG_SECONDS,
    )
    return Applied.of(response.json)


def get_definitions() -> Call[Definitions]:
    response = yield Request("GET", "/api/v1/definitions")
    return Definitions.of(response.json)


def lineage(name: str, direction: str) -> Call[Lineage]:
    response = yield _lineage(name, direction, "json")
    return Lineage.of(response.json)


def lineage_text(name: str, direction: str, form: str) -> Call[str]:
    if form not in ("text", "dot"):
        raise InvalidArgumentError(f"a lineage is drawn as 'text' or 'dot', not as '{form}'")
    response = yield _lineage(name, direction, form)
    return response.body.decode()


def erase(entity: str, key: Any, without_absent: bool = False) -> Call[ErasureReceipt]:
    wire: Any
    if isinstance(key, Mapping):
        wire = row_to_wire(key, "key")
    else:
        values = key if isinstance(key, Sequence) and not isinstance(key, str) else [key]
        wire = [to_wire(value, "key") for value in values]
    response = yield Request(
        "DELETE",
        f"/api/v1/entities/{segment(entity)}/keys",
        body=json_body({"key": wire, "without_absent": without_absent}),
        timeout=LONG_SECONDS,
    )
    return ErasureReceipt.of(response.json)


def list_erasures(limit: int) -> Call[list[ErasureReceipt]]:
    response = yield Request("GET", "/api/v1/erasures", query={"limit": str(limit)})
    return [ErasureReceipt.of(receipt) for receipt in response.json["erasures"]]


def _lineage(name: str, direction: str, form: str) -> Request:
    query = {"direction": direction, "format": form}
    return Request("GET", f"/api/v1/lineage/{segment(name)}", query=query)


def _definitions(
    project: str | PathLike[str], directory: str | PathLike[str] | None
) -> dict[str, Any]:
    """The text of martlet.yaml and the folder in which the platform finds its Python files."""
    path = Path(project)
    path = (path / "martlet.yaml" if path.is_dir() else path).absolute()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no {path}; name the folder of your project, or run `martlet init` there"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return {"yaml": text, "directory": str(directory or path.parent)}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "python"
