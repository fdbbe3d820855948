"""Columns on the wire, and the same columns as NumPy arrays.

Reading numbers copies nothing: the arrays are read-only views of the message's own bytes. How a
type appears to the user, with and without nulls:

========== =================== ==========================
type       no nulls            with nulls
========== =================== ==========================
BOOL       bool                float64, NaN
INT64      int64               float64, NaN
DOUBLE     float64             float64, NaN
STRING     object of str       object, None
TIMESTAMP  datetime64[us] UTC  datetime64[us], NaT
========== =================== ==========================

An array column whose rows all have n elements is a two-dimensional array (rows, n) of the same
dtypes, a null row filled with the null of the table (NaN, None, NaT). One whose rows differ is an
object array of one-dimensional arrays, with None for a null row.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from martlet_worker.faults import bad_output, internal
from martlet_worker.worker_pb2 import Column, Columns

Array = NDArray[Any]

BOOL = Column.BOOL
INT64 = Column.INT64
DOUBLE = Column.DOUBLE
STRING = Column.STRING
TIMESTAMP = Column.TIMESTAMP

NUMERIC = frozenset({BOOL, INT64, DOUBLE})

PACKED: dict[int, np.dtype[Any]] = {
    BOOL: np.dtype(np.uint8),
    INT64: np.dtype("<i8"),
    DOUBLE: np.dtype("<f8"),
    TIMESTAMP: np.dtype("<i8"),
}
OFFSET = np.dtype("<u4")


def type_name(column_type: int) -> str:
    return str(Column.Type.Name(column_type))


# Reading


def validity(column: Column, rows: int) -> NDArray[np.bool_] | None:
    """True where a value is present; None when all are."""
    packed = column.validity
    if not packed:
        return None
    if len(packed) != rows:
        raise internal(
            f"column {column.name!r} has {len(packed)} bytes of validity for {rows} rows; "
            "it takes one byte for each row, or none"
        )
    valid: NDArray[np.bool_] = np.frombuffer(packed, np.uint8) != 0
    return valid


def array_length(column: Column) -> int | None:
    """How many elements each row of an array column has, 0 where rows differ, None for no array."""
    if column.length:
        return int(column.length)
    return 0 if column.offsets else None


def packed_values(column: Column, rows: int) -> Array:
    """A fixed-width column's buffer as an array, without a copy."""
    dtype = PACKED.get(column.type)
    if dtype is None:
        raise internal(f"column {column.name!r} has type {column.type}, which is not fixed-width")
    buffer = column.values
    if len(buffer) != rows * dtype.itemsize:
        raise internal(
            f"column {column.name!r} holds {len(buffer)} bytes; {rows} rows of "
            f"{type_name(column.type)} take {rows * dtype.itemsize}"
        )
    return np.frombuffer(buffer, dtype)


def strings(column: Column, rows: int, valid: NDArray[np.bool_] | None) -> Array:
    buffer = column.values
    head = (rows + 1) * OFFSET.itemsize
    if len(buffer) < head:
        raise internal(
            f"column {column.name!r} holds {len(buffer)} bytes; "
            f"the offsets of {rows} rows take {head}"
        )
    offsets = np.frombuffer(buffer, OFFSET, rows + 1).astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != len(buffer) - head or bool(np.any(np.diff(offsets) < 0)):
        raise internal(f"column {column.name!r} has string offsets that do not fit its bytes")
    bounds = (offsets + head).tolist()
    out = np.empty(rows, dtype=object)
    try:
        for row in range(rows):
            out[row] = buffer[bounds[row] : bounds[row + 1]].decode()
    except UnicodeDecodeError as error:
        raise internal(
            f"column {column.name!r}, row {row}, is not UTF-8: {error.reason}"
        ) from error
    if valid is not None:
        out[~valid] = None
    return out


def presented(values: Array, column_type: int, valid: NDArray[np.bool_] | None) -> Array:
    """Packed values in the dtype that the user sees (the table above)."""
    if column_type == TIMESTAMP:
        times = values.view("<M8[us]")
        return times if valid is None else np.where(valid, times, np.datetime64("NaT", "us"))
    if valid is not None:
        return np.where(valid, values, np.nan)
    return values.view(np.bool_) if column_type == BOOL else values


def array(column: Column, rows: int) -> Array:
    """One column as the user sees it."""
    valid = validity(column, rows)
    length = array_length(column)
    if length is not None:
        return _same_length(column, rows, valid) if length else _lists(column, rows, valid)
    if column.type == STRING:
        return strings(column, rows, valid)
    return presented(packed_values(column, rows), column.type, valid)


def _elements(column: Column, count: int) -> Array:
    if column.type == STRING:
        return strings(column, count, None)
    return presented(packed_values(column, count), column.type, None)


def _same_length(column: Column, rows: int, valid: NDArray[np.bool_] | None) -> Array:
    values = _elements(column, rows * column.length).reshape(rows, column.length)
    if valid is None:
        return values
    null: Any = {STRING: None, TIMESTAMP: np.datetime64("NaT", "us")}.get(column.type, np.nan)
    return np.where(valid[:, None], values, null)


def _lists(column: Column, rows: int, valid: NDArray[np.bool_] | None) -> Array:
    if len(column.offsets) != (rows + 1) * OFFSET.itemsize:
        raise internal(f"column {column.name!r} has array offsets that are not of {rows} rows")
    offsets = np.frombuffer(column.offsets, OFFSET).astype(np.int64)
    if offsets[0] != 0 or bool(np.any(np.diff(offsets) < 0)):
        raise internal(f"column {column.name!r} has array offsets that do not rise from 0")
    values = _elements(column, int(offsets[-1]))
    bounds = offsets.tolist()
    out = np.empty(rows, dtype=object)
    for row in range(rows):
        if valid is None or valid[row]:
            out[row] = values[bounds[row] : bounds[row + 1]]
    return out


def arrays(columns: Columns) -> dict[str, Array]:
    """All columns by name, as the user sees them."""
    return {column.name: array(column, columns.rows) for column in columns.columns}


# Writing


def packed_column(
    name: str, column_type: int, values: Array, valid: NDArray[np.bool_] | None = None
) -> Column:
    """One column from an array of its presented dtype; what is not valid is written as zero."""
    if valid is not None and bool(valid.all()):
        valid = None
    if column_type == STRING:
        packed = _packed_strings(values, valid)
    else:
        dtype = PACKED[column_type]
        if column_type == TIMESTAMP:
            values = values.astype("<M8[us]", copy=False).view("<i8")
        if valid is not None:
            values = np.where(valid, values, 0)
        packed = np.ascontiguousarray(values, dtype).tobytes()
    return Column(
        name=name,
        type=column_type,  # type: ignore[arg-type]
        values=packed,
        validity=b"" if valid is None else valid.astype(np.uint8).tobytes(),
    )


def _packed_strings(values: Array, valid: NDArray[np.bool_] | None) -> bytes:
    texts = values.tolist()
    if valid is not None:
        texts = [text if here else "" for text, here in zip(texts, valid.tolist(), strict=True)]
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise bad_output(f"a text has no UTF-8 form: {error.reason}") from error
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    if offsets[-1] > np.iinfo(np.uint32).max:
        raise bad_output(
            f"a column of {offsets[-1]} bytes of text does not fit one message (4 GiB)"
        )
    return offsets.astype(OFFSET).tobytes() + b"".join(encoded)


def column_of(name: str, values: Any, like: int | None = None, length: int | None = None) -> Column:
    """One column from what a user returned; NaN, None, NaT and masked values become null.

    `like` is the type of the input column of the same name: whole numbers that passed through
    floating point because of nulls go back to INT64, and so on. `length` is its `array_length`. Two
    dimensions, and rows that are sequences, are an array column.
    """
    if length is not None or _holds_arrays(values):
        return _array_column(name, values, like, length)
    values, valid = _values_and_validity(name, values)
    values, column_type = _typed(name, values, valid, like)
    return packed_column(name, column_type, values, valid)


def _holds_arrays(values: Any) -> bool:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.ndim == 2
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return False
    first = next((value for value in values if not _is_missing(value)), None)
    return isinstance(first, list | tuple | np.ndarray)


def _is_missing(value: Any) -> bool:
    return not isinstance(value, list | tuple | np.ndarray) and _is_null(value)


def _array_column(name: str, values: Any, like: int | None, length: int | None) -> Column:
    """Rows of arrays. A null row is None, or in two dimensions one of nothing but NaN or NaT."""
    rows, valid = cells(name, values)
    counts = np.array([len(cell) for cell in rows], dtype=np.int64)
    filled = [cell for cell in rows if len(cell)]
    if filled:
        flat = np.concatenate(filled)
        flat, column_type = _typed(name, _whole(name, flat), None, like)
    else:
        column_type = DOUBLE if like is None else like
        flat = np.empty(0, object if column_type == STRING else np.int64)
    same = int(counts[valid][0]) if valid.any() else 0
    if length is None:
        length = same if isinstance(values, np.ndarray) and values.ndim == 2 else 0
    fixed = length if length and bool(np.all(counts[valid] == length)) else 0
    if fixed and not valid.all():
        padded = np.full((len(rows), fixed), "" if column_type == STRING else 0, flat.dtype)
        padded[valid] = flat.reshape(-1, fixed)
        flat = padded.reshape(-1)
    column = packed_column(name, column_type, flat)
    if not valid.all():
        column.validity = valid.astype(np.uint8).tobytes()
    if fixed:
        column.length = fixed
    else:
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(counts, out=offsets[1:])
        if offsets[-1] > np.iinfo(np.uint32).max:
            raise bad_output(f"column {name!r} has {offsets[-1]} elements; return fewer rows")
        column.offsets = offsets.astype(OFFSET).tobytes()
    return column


def cells(name: str, values: Any) -> tuple[list[Array], NDArray[np.bool_]]:
    """The elements of each row, none for a null row, and which rows are there."""
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        partly = mask.any(axis=1) & ~mask.all(axis=1) if values.ndim == 2 else mask
        if values.ndim != 2 or partly.any():
            raise bad_output(f"column {name!r} masks elements of an array; mask whole rows")
        values = np.where(mask.all(axis=1), None, listed(list(values.data)))
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "fM":
        nulls = np.isnan(values) if values.dtype.kind == "f" else np.isnat(values)
        valid = ~nulls.all(axis=1) if values.shape[1] else np.ones(len(values), bool)
        return [row if here else row[:0] for row, here in zip(values, valid, strict=True)], valid
    found: list[Array] = []
    here = np.ones(len(values), dtype=bool)
    for row, value in enumerate(values):
        if _is_missing(value):
            here[row] = False
            found.append(np.empty(0))
            continue
        if not isinstance(value, list | tuple | np.ndarray):
            raise bad_output(
                f"column {name!r}, row {row}, is a {type(value).__name__}; "
                "return an array, a list or None for each row"
            )
        cell = value if isinstance(value, np.ndarray) else listed(value)
        if cell.ndim != 1:
            raise bad_output(f"column {name!r}, row {row}, has {cell.ndim} dimensions; return one")
        if cell.dtype == object and len(cell) and all(element is None for element in cell):
            # A row of None in two dimensions is how a null row of text comes in.
            here[row] = False
            cell = cell[:0]
        found.append(cell)
    return found, here


def _whole(name: str, elements: Array) -> Array:
    """Elements of which none is null; NaN is a number."""
    missing = elements.dtype == object and any(
        element is None or (_is_null(element) and not isinstance(element, float))
        for element in elements
    )
    if missing or (elements.dtype.kind == "M" and bool(np.isnat(elements).any())):
        raise bad_output(
            f"column {name!r} has an array with a null element; leave it out, or return None for "
            "the whole row"
        )
    return elements


def _values_and_validity(name: str, values: Any) -> tuple[Array, NDArray[np.bool_] | None]:
    mask = None
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        values = values.data
    elif hasattr(values, "isna") and hasattr(values, "to_numpy"):  # A pandas Series or Index.
        mask = np.asarray(values.isna(), dtype=bool)
        # pandas' own types (nullable, with a zone, category) have no one dtype in NumPy.
        own = not isinstance(values.dtype, np.dtype)
        values = (values.astype(object) if own else values).to_numpy()
    elif not isinstance(values, np.ndarray):
        values = listed(values)
    if values.ndim != 1:
        raise bad_output(
            f"column {name!r} has {values.ndim} dimensions {values.shape}; return one value a row"
        )
    nulls = _nulls(values)
    if mask is not None:
        nulls = mask if nulls is None else nulls | mask
    return values, None if nulls is None else ~nulls


def listed(values: Any) -> Array:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return np.asarray(values)
    values = list(values)
    out = np.empty(len(values), dtype=object)
    # One by one: rows of one length would be taken for a second dimension.
    for place, value in enumerate(values):
        out[place] = value
    return out


def _nulls(values: Array) -> NDArray[np.bool_] | None:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    if values.dtype == object:
        # None, NaN, NaT and pandas.NA; only these are not equal to themselves, or not comparable.
        return np.fromiter((_is_null(value) for value in values), bool, len(values))
    return None


def _is_null(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str | bytes | bool | int):
        return False
    try:
        return not bool(value == value)
    except (TypeError, ValueError):
        return True


def _typed(
    name: str, values: Array, valid: NDArray[np.bool_] | None, like: int | None
) -> tuple[Array, int]:
    if valid is not None and not valid.any():
        column_type = DOUBLE if like is None else like
        filler = "" if column_type == STRING else 0
        dtype = object if column_type == STRING else np.int64
        return np.full(len(values), filler, dtype), column_type
    if values.dtype == object:
        values = _from_objects(name, values, valid)
    kind = values.dtype.kind
    if kind == "U" or kind == "O":
        return values.astype(object), STRING
    if kind == "M":
        return values, TIMESTAMP
    if kind not in "biuf":
        raise bad_output(
            f"column {name!r} has the dtype {values.dtype}; return bool, int, float, str or "
            "datetime64 values"
        )
    return _numbers(name, values, valid, like)


def _numbers(
    name: str, values: Array, valid: NDArray[np.bool_] | None, like: int | None
) -> tuple[Array, int]:
    kind = values.dtype.kind
    if kind == "b":
        return values, BOOL
    if kind in "iu":
        if kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max:
            raise bad_output(f"column {name!r} holds {values.max()}, which does not fit int64")
        return values.astype(np.int64), INT64
    values = values.astype(np.float64)
    if like in (INT64, BOOL):
        whole = values if valid is None else np.where(valid, values, 0.0)
        exact = np.abs(whole) <= (1 if like == BOOL else 2**53)
        if bool(np.all(exact & (whole == np.trunc(whole)))):
            return whole.astype(np.int64), like
    return values, DOUBLE


def _from_objects(name: str, values: Array, valid: NDArray[np.bool_] | None) -> Array:
    present = values if valid is None else values[valid]
    kinds = {_kind(value) for value in present}
    if kinds == {"time"}:
        out = np.zeros(len(values), "M8[us]")
        for row in range(len(values)) if valid is None else np.flatnonzero(valid):
            out[row] = _utc(name, int(row), values[row])
        return out
    dtype = {
        frozenset({"bool"}): np.bool_,
        frozenset({"int"}): np.int64,
        frozenset({"float"}): np.float64,
        frozenset({"int", "float"}): np.float64,
        frozenset({"str"}): object,
    }.get(frozenset(kinds))
    if dtype is None:
        found = ", ".join(sorted({type(value).__name__ for value in present}))
        raise bad_output(
            f"column {name!r} holds values of type {found}; a column holds one of bool, int, "
            "float, str or datetime"
        )
    if dtype is object:
        return values
    filled = values if valid is None else np.where(valid, values, 0)
    try:
        return filled.astype(dtype)
    except OverflowError as error:
        raise bad_output(f"column {name!r} holds a whole number that does not fit int64") from error


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | np.integer):
        return "int"
    if isinstance(value, float | np.floating):
        return "float"
    if isinstance(value, str):
        return "str"
    if isinstance(value, datetime.datetime | np.datetime64):
        return "time"
    return "other"


def _utc(name: str, row: int, value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return value
    if value.tzinfo is None:
        raise bad_output(
            f"column {name!r}, row {row}: the time {value} has no zone; "
            "make it aware, for example with tzinfo=datetime.UTC"
        )
    return np.datetime64(value.astimezone(datetime.UTC).replace(tzinfo=None), "us")


def table(
    values: Mapping[str, Any], rows: int, like: Mapping[str, Column] | None = None
) -> Columns:
    """Columns from arrays by name; every one must have `rows` values."""
    known = like or {}
    out = Columns(rows=rows)
    for name, column_values in values.items():
        if not isinstance(name, str):
            raise bad_output(f"a column is named {name!r}; names are strings")
        check_rows(name, column_values, rows)
        given = known.get(name)
        out.columns.append(
            column_of(name, column_values)
            if given is None
            else column_of(name, column_values, given.type, array_length(given))
        )
    return out


def check_rows(name: str, values: Any, rows: int) -> None:
    try:
        found = len(values)
    except TypeError as error:
        raise bad_output(
            f"column {name!r} is a {type(values).__name__}; expected {rows} values in an array"
        ) from error
    if found != rows:
        raise bad_output(f"column {name!r} has {found} rows; expected {rows}")


def predictions(values: NDArray[np.float64]) -> Columns:
    """The one column of a model's answer. NaN stays a value: a model may mean it."""
    return Columns(rows=len(values), columns=[packed_column("prediction", DOUBLE, values)])
