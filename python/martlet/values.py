"""Values on their way to the platform and back.

Times go as ISO 8601 with what zone they have: one without is refused by the platform unless the
source declares its zone, and is not guessed here. NaN and infinities, for which JSON has no
numbers, go and come as the platform's texts for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from martlet.errors import InvalidArgumentError

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_wire(value: Any, name: str) -> Any:
    """A value as JSON has it; `name` says in an error which one was wrong."""
    if value is None or isinstance(value, (bool, int, str)):
        return value if type(value) in (bool, int, str, type(None)) else _plain(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, datetime):
        # pandas' NaT is a datetime, and the only one that differs from itself.
        return None if value != value else value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value) if isinstance(value, UUID) else to_wire(float(value), name)
    if isinstance(value, (list, tuple)):
        return [to_wire(element, name) for element in value]
    return _foreign(value, name)


def row_to_wire(row: Any, what: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise InvalidArgumentError(
            f"{what} must be a dictionary, a list of dictionaries or a data frame, "
            f"not {type(row).__name__}"
        )
    return {str(name): to_wire(value, str(name)) for name, value in row.items()}


def from_wire(value: Any, kind: str | None) -> Any:
    """A value of an answer as the feature type `kind` has it; left alone where that is unknown."""
    if value is None or kind is None:
        return value
    if isinstance(value, list):
        element = kind.partition("[")[0]
        return [from_wire(item, element) for item in value]
    if kind == "double" and isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if kind == "timestamp" and isinstance(value, str):
        return time_from_wire(value)
    return value


def time_from_wire(text: str) -> datetime:
    return datetime.fromisoformat(text)


def time_to_wire(value: datetime | str, name: str) -> str:
    """A time that must have a zone."""
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise InvalidArgumentError(
            f"'{name}' has no zone; write for example datetime(2026, 3, 1, tzinfo=timezone.utc)"
        )
    return value.isoformat()


def _plain(value: Any) -> Any:
    """A subclass of a plain type, such as an enumeration of texts, as that type."""
    return next(kind(value) for kind in (int, str) if isinstance(value, kind))


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _foreign(value: Any, name: str) -> Any:
    """NumPy's and pandas' own values, without importing either."""
    if type(value).__name__ == "NAType":
        return None
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind == "M" and getattr(value, "ndim", 1) == 0:
        return to_wire(value.astype("datetime64[us]").item(), name)
    if kind is not None and hasattr(value, "tolist"):
        if kind == "M":
            value = value.astype("datetime64[us]")
        return to_wire(value.tolist(), name)
    raise InvalidArgumentError(
        f"'{name}' is a {type(value).__name__}; the platform takes numbers, texts, true, false, "
        "times, nulls and arrays of one of them"
    )
