"""Feature values, now and as they were, and how well the two agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

from martlet import frames
from martlet.answers import Feature, FeatureSet, Freshness, OnlineFeatures, Verification
from martlet.errors import InternalError, InvalidArgumentError, NotFoundError
from martlet.exchange import LONG_SECONDS, Call, Request, json_body
from martlet.values import row_to_wire


class FeatureMemory:
    """The features that the platform has told of, so that not every read asks again.

    Forgotten when a call fails over a name or a type, and when this client applies definitions.
    """

    def __init__(self) -> None:
        self._known: Mapping[str, Feature] = {}

    def __getitem__(self, name: str) -> Feature | None:
        return self._known.get(name)

    def remember(self, features: Iterable[Feature]) -> None:
        self._known = {feature.name: feature for feature in features}

    def knows_any(self) -> bool:
        return bool(self._known)

    def forget(self) -> None:
        self._known = {}

    def types(self, names: Iterable[str]) -> dict[str, str]:
        return {name: known.type for name in names if (known := self[name])}


def list_features() -> Call[list[Feature]]:
    response = yield Request("GET", "/api/v1/features")
    return [Feature.of(feature) for feature in response.json["features"]]


def list_feature_sets() -> Call[list[FeatureSet]]:
    response = yield Request("GET", "/api/v1/features/sets")
    return [FeatureSet.of(found) for found in response.json["sets"]]


def freshness(views: Sequence[str] | None) -> Call[list[Freshness]]:
    query = {"views": None if views is None else ",".join(views)}
    response = yield Request("GET", "/api/v1/features/freshness", query=query)
    return [Freshness.of(view) for view in response.json["views"]]


def get_online(
    memory: FeatureMemory, features: Sequence[str] | str, entities: Any, timeout: float | None
) -> Call[OnlineFeatures]:
    rows = rows_of(entities, "entities")
    asked: dict[str, Any]
    if isinstance(features, str):
        asked = {"feature_set": features}
        if not memory.knows_any():
            yield from _learn(memory)
    else:
        asked = {"features": checked_names(features)}
        yield from _know(memory, asked["features"])
    body = json_body(asked | {"entities": rows})
    try:
        response = yield Request("POST", "/api/v1/features/online", body=body, timeout=timeout)
    except (InvalidArgumentError, NotFoundError):
        memory.forget()
        raise
    answer = response.json
    return OnlineFeatures.of(answer, rows, memory.types(answer.get("features", ())))


def rows_of(entities: Any, what: str) -> list[dict[str, Any]]:
    """One dictionary, several, or a data frame as rows of JSON."""
    rows: Iterable[Any]
    if isinstance(entities, Mapping):
        rows = [entities]
    elif frames.form_of(entities):
        rows = frames.to_arrow(entities).to_pylist()
    elif isinstance(entities, Iterable) and not isinstance(entities, str | bytes):
        rows = entities
    else:
        rows = [entities]
    return [row_to_wire(row, what) for row in rows]


def get_history(
    memory: FeatureMemory,
    spine: Any,
    features: Sequence[str] | str,
    time: str,
    mode: str,
    as_: str | None,
    timeout: float | None,
) -> Call[Any]:
    """Sends the key columns and the time only, and adds the answer's columns to the spine."""
    if isinstance(features, str):
        features = yield from _features_of_set(features)
    names = checked_names(features)
    if isinstance(spine, str | PathLike):
        answer = yield from _history_of_file(Path(spine), names, time, mode, as_, timeout)
        return answer
    form = frames.form_of(spine)
    if form is None:
        raise InvalidArgumentError(
            "a spine is a table of pandas, Polars or Arrow, or the path of a CSV or Parquet "
            f"file, not {type(spine).__name__}"
        )
    form = frames.checked_form(as_ or form)
    if taken := sorted(set(names) & set(frames.column_names(spine))):
        raise InvalidArgumentError(
            f"the spine has a column '{taken[0]}' already; rename or drop it"
        )
    yield from _know(memory, names)
    wanted = {time} | {column for name in names if (known := memory[name]) for column in known.key}
    keys = frames.to_arrow(spine, wanted if all(memory[name] for name in names) else None)
    try:
        added = yield from _history(
            frames.parquet_bytes(keys), "parquet", "the spine", names, time, mode, timeout
        )
    except (InvalidArgumentError, NotFoundError):
        memory.forget()
        raise
    if added.num_rows != frames.row_count(spine):
        raise InternalError(
            f"the platform answered {added.num_rows} rows to a spine of {frames.row_count(spine)}"
        )
    return frames.joined(spine, added.select(names), form)


def _history_of_file(
    path: Path, names: list[str], time: str, mode: str, as_: str | None, timeout: float | None
) -> Call[Any]:
    form = frames.checked_form(as_ or "pandas")
    body, kind, called = spine_of(path)
    table = yield from _history(body, kind, called, names, time, mode, timeout)
    return frames.from_arrow(table, form)


def spine_of(spine: Any) -> tuple[bytes | Path, str, str]:
    """A whole spine as it is sent: its bytes or its file, its format, and what errors call it."""
    if isinstance(spine, str | PathLike):
        path = Path(spine)
        kind = path.suffix.lstrip(".").lower()
        if kind not in ("csv", "parquet"):
            raise InvalidArgumentError(f"a spine's file ends in .csv or .parquet, unlike {path}")
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}")
        return path, kind, str(path)
    if frames.form_of(spine) is None:
        raise InvalidArgumentError(
            "a spine is a table of pandas, Polars or Arrow, or the path of a CSV or Parquet "
            f"file, not {type(spine).__name__}"
        )
    return frames.parquet_bytes(frames.to_arrow(spine)), "parquet", "the spine"


def _history(
    body: bytes | Path,
    kind: str,
    called: str,
    names: list[str],
    time: str,
    mode: str,
    timeout: float | None,
) -> Call[pa.Table]:
    query = {
        "features": ",".join(names),
        "time": time,
        "mode": mode,
        "spine_format": kind,
        "spine_name": called,
        "format": "parquet",
    }
    response = yield Request(
        "POST",
        "/api/v1/features/history",
        query=query,
        body=body,
        content_type="application/octet-stream",
        spooled=True,
        timeout=timeout or LONG_SECONDS,
    )
    return frames.read_parquet(response.file)


def verify(
    model: str | None,
    window: str | None,
    sample: int | None,
    threshold: float | None,
    live: bool,
    views: Sequence[str] | None,
) -> Call[Verification]:
    asked = {
        "model": model,
        "window": window,
        "sample": sample,
        "threshold": threshold,
        "live": live or None,
        "views": None if views is None else list(views),
    }
    body = {name: value for name, value in asked.items() if value is not None}
    response = yield Request(
        "POST", "/api/v1/features/verify", body=json_body(body), timeout=LONG_SECONDS
    )
    return Verification.of(response.json)


def _features_of_set(name: str) -> Call[list[str]]:
    """Those of a set that events tell; what a request brings has no history."""
    found = yield from list_feature_sets()
    chosen = [each for each in found if each.name == name]
    if not chosen:
        known = ", ".join(each.name for each in found) or "none"
        raise NotFoundError(f"there is no feature set '{name}'; known: {known}")
    of_requests = [feature for feature in chosen[0].features if "." not in feature]
    if of_requests:
        raise InvalidArgumentError(
            f"'{of_requests[0]}' of the feature set '{name}' is made of what a request brings, so "
            "it has no history; name the others as view.feature"
        )
    return list(chosen[0].features)


def _know(memory: FeatureMemory, names: Sequence[str]) -> Call[None]:
    if not all(memory[name] for name in names):
        yield from _learn(memory)


def _learn(memory: FeatureMemory) -> Call[None]:
    known = yield from list_features()
    memory.remember(known)


def checked_names(features: Sequence[str]) -> list[str]:
    """A list of features, each named once."""
    if isinstance(features, str):
        raise InvalidArgumentError(f"features is a list of names, as in ['{features}']")
    names = list(features)
    for index, name in enumerate(names):
        if not isinstance(name, str) or "," in name:
            raise InvalidArgumentError(f"{name!r} is not a feature; write view.feature")
        if name in names[:index]:
            raise InvalidArgumentError(f"'{name}' is asked for twice; name it once")
    if not names:
        raise InvalidArgumentError("no features are asked for; name at least one, as view.feature")
    return names
