"""Tables in the form that the caller works with: pandas, Polars or Arrow.

A feature has one dtype, whatever values a table happens to have. In pandas: `Int64`, `boolean` and
the string dtype, which have nulls of their own, `float64` with NaN for null, `datetime64[us, UTC]`,
and objects for arrays.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from martlet.errors import InternalError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Form = Literal["pandas", "polars", "arrow"]


def form_of(data: Any) -> Form | None:
    """The library that a table is of, None where it is no table."""
    library = type(data).__module__.partition(".")[0]
    if library == "pandas" and hasattr(data, "columns"):
        return "pandas"
    if library == "polars" and type(data).__name__ == "LazyFrame":
        raise InvalidArgumentError("a LazyFrame has no rows yet; give its collect()")
    if library == "polars" and hasattr(data, "columns"):
        return "polars"
    return "arrow" if isinstance(data, (pa.Table, pa.RecordBatch)) else None


def checked_form(form: str) -> Form:
    """A form that can be made here: known, and its library is installed."""
    if form == "pandas":
        _pandas()
        return "pandas"
    if form == "polars":
        _polars()
        return "polars"
    if form == "arrow":
        return "arrow"
    raise InvalidArgumentError(f"as_ is 'pandas', 'polars' or 'arrow', not '{form}'")


def to_arrow(frame: Any, columns: Iterable[str] | None = None) -> pa.Table:
    """A table as Arrow, times in microseconds; only those of `columns` that it has."""
    wanted = None if columns is None else set(columns)
    form = form_of(frame)
    names = list(frame.schema.names if form == "arrow" else frame.columns)
    chosen = [name for name in names if wanted is None or name in wanted]
    if len(set(chosen)) < len(chosen):
        twice = next(name for name in chosen if chosen.count(name) > 1)
        raise InvalidArgumentError(f"the table has the column '{twice}' twice; rename one")
    try:
        if form == "pandas":
            table = pa.Table.from_pandas(frame[chosen], preserve_index=False)
        elif form == "polars":
            oldest = _polars().CompatLevel.oldest()
            table = frame.select(chosen).to_arrow(compat_level=oldest)
        elif isinstance(frame, pa.RecordBatch):
            table = pa.Table.from_batches([frame]).select(chosen)
        else:
            table = frame.select(chosen)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidArgumentError(
            f"a column of the table has values of several types or of one that no file has; "
            f"convert it ({error})"
        ) from error
    return _in_microseconds(table).replace_schema_metadata(None)


def row_count(frame: Any) -> int:
    return int(frame.num_rows if form_of(frame) == "arrow" else len(frame))


def column_names(frame: Any) -> list[str]:
    return [str(name) for name in (frame.schema.names if form_of(frame) == "arrow" else frame)]


def batches(frame: Any, rows: int) -> Iterator[list[dict[str, Any]]]:
    """The rows as dictionaries, at most so many at a time."""
    for batch in to_arrow(frame).to_batches(max_chunksize=rows):
        yield batch.to_pylist()


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def write_parquet(frame: Any, path: Path) -> None:
    """The same rows always make the same bytes, by which the platform knows a file again."""
    pq.write_table(to_arrow(frame), path, compression="zstd", store_schema=False)


def read_parquet(file: IO[bytes] | None) -> pa.Table:
    if file is None:
        raise InternalError("the answer was not written to a file")
    with file:
        try:
            return pq.ParquetFile(file).read()
        except pa.ArrowException as error:
            raise InternalError(f"the platform's Parquet answer cannot be read: {error}") from error


def from_arrow(table: pa.Table, form: Form) -> Any:
    """Arrow as the form; from it alone, so that the dtypes are always the same."""
    if form == "arrow":
        return table
    if form == "polars":
        return _polars().from_arrow(table)
    pandas = _pandas()
    own = {
        pa.int64(): pandas.Int64Dtype(),
        pa.bool_(): pandas.BooleanDtype(),
        pa.string(): _string_dtype(pandas),
    }
    return table.to_pandas(types_mapper=own.get)


def joined(frame: Any, added: pa.Table, form: Form) -> Any:
    """The caller's table as it is, with columns added: same rows, same order, same index."""
    if form_of(frame) != form:
        base = from_arrow(to_arrow(frame), form)
        return joined(base, added, form)
    if form == "pandas":
        columns = from_arrow(added, form)
        columns.index = frame.index
        return _pandas().concat([frame, columns], axis=1)
    if form == "polars":
        return frame.hstack(_polars().from_arrow(added).get_columns())
    table = pa.Table.from_batches([frame]) if isinstance(frame, pa.RecordBatch) else frame
    for name in added.schema.names:
        table = table.append_column(added.schema.field(name), added.column(name))
    return table


def table_of(columns: Mapping[str, Sequence[Any]], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of Python values as Arrow; those without a type get what their values have."""
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values, types.get(name))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            arrays[name] = pa.array(values)
    return pa.table(arrays)


def arrow_type(kind: str) -> pa.DataType | None:
    """The Arrow type of one of the platform's, None where it is unknown."""
    scalars = {
        "bool": pa.bool_(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "string": pa.string(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    element, bracket, _ = kind.partition("[")
    scalar = scalars.get(element)
    return pa.list_(scalar) if bracket and scalar is not None else scalar


def with_plain_numbers(table: pa.Table) -> pa.Table:
    """Decimals as what the platform has: whole ones as int64 where all of them fit, else double."""
    for index, found in enumerate(table.schema):
        if not pa.types.is_decimal(found.type):
            continue
        column = table.column(index)
        try:
            plain = column.cast(pa.int64() if found.type.scale == 0 else pa.float64())
        except pa.ArrowInvalid:
            plain = column.cast(pa.float64())
        table = table.set_column(index, found.name, plain)
    return table


def _in_microseconds(table: pa.Table) -> pa.Table:
    """The platform's precision; what is finer is cut off."""
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit != "us":
            wanted = pa.timestamp("us", field.type.tz)
            column = table.column(index).cast(wanted, safe=False)
            table = table.set_column(index, field.with_type(wanted), column)
    return table


def _string_dtype(pandas: Any) -> Any:
    """pandas 3's own strings, before it those with pandas' null."""
    try:
        return pandas.StringDtype(na_value=float("nan"))
    except TypeError:
        return pandas.StringDtype()


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "pandas is not installed here: pip install 'martlet[pandas]', or ask for "
            "as_='arrow' or as_='polars'"
        ) from error
    return pandas


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise ImportError(
            "Polars is not installed here: pip install 'martlet[polars]', or ask for "
            "as_='arrow' or as_='pandas'"
        ) from error
    return polars
