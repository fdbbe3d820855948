"""The training set as the user's function sees it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from martlet_worker import columns as wire
from martlet_worker.columns import Array
from martlet_worker.faults import internal
from martlet_worker.worker_pb2 import Columns

if TYPE_CHECKING:
    import pandas

LENGTH = struct.Struct("<I")
EVENT_TIMESTAMP = "event_timestamp"


class StoredColumn:
    """One column of the whole file: packed values, validity and type."""

    def __init__(self, name: str, column_type: int) -> None:
        self.name = name
        self.type = column_type
        self._values: list[Array] = []
        self._valid: list[NDArray[np.bool_] | None] = []
        self._rows: list[int] = []

    def append(self, values: Array, valid: NDArray[np.bool_] | None) -> None:
        self._values.append(values)
        self._valid.append(valid)
        self._rows.append(len(values))

    def presented(self, start: int, stop: int) -> Array:
        """Rows [start, stop) in the dtype that the user sees.

        The dtype follows from the whole column, so that both slices of one dataset agree.
        """
        self._join()
        valid = self._valid[0]
        values = self._values[0][start:stop]
        if self.type == wire.STRING:
            return values
        return wire.presented(values, self.type, None if valid is None else valid[start:stop])

    def _join(self) -> None:
        if len(self._values) == 1:
            return
        if any(valid is not None for valid in self._valid):
            filled = [
                np.ones(rows, np.bool_) if valid is None else valid
                for rows, valid in zip(self._rows, self._valid, strict=True)
            ]
            self._valid = [np.concatenate(filled)]
        else:
            self._valid = [None]
        self._values = [np.concatenate(self._values)]
        self._rows = [len(self._values[0])]


class Dataset:
    """Rows sorted by time, with named features and a label; a slice shares its parent's memory.

    `X` needs pandas in the environment; `numpy`, `y` and `event_timestamps` do not.
    """

    def __init__(
        self,
        stored: dict[str, StoredColumn],
        features: Sequence[str],
        label: str,
        start: int,
        stop: int,
        evaluation_from: int,
    ) -> None:
        self._stored = stored
        self._start = start
        self._stop = stop
        self._evaluation_from = evaluation_from
        self.features = list(features)
        self.label = label

    @property
    def columns(self) -> list[str]:
        """Names of all columns: keys, time, features and label."""
        return list(self._stored)

    @property
    def rows(self) -> int:
        return self._stop - self._start

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        return f"Dataset({self.rows} rows, {len(self.features)} features, label {self.label!r})"

    @property
    def train(self) -> Dataset:
        """The rows before the last slice of time."""
        return self._slice(self._start, min(self._evaluation_from, self._stop))

    @property
    def evaluation(self) -> Dataset:
        """The last slice of time; empty in the dataset that the user's function gets."""
        return self._slice(min(self._evaluation_from, self._stop), self._stop)

    def numpy(self, name: str) -> Array:
        """One column; nulls are NaN, None or NaT (integers and booleans then become float64)."""
        stored = self._stored.get(name)
        if stored is None:
            raise KeyError(f"no column {name!r}; there are {', '.join(self._stored)}")
        return stored.presented(self._start, self._stop)

    @property
    def X(self) -> pandas.DataFrame:  # noqa: N802
        """The features as a pandas DataFrame; strings are of category dtype."""
        return frame({name: self.numpy(name) for name in self.features})

    @property
    def y(self) -> NDArray[np.float64]:
        """The label as float64; true is 1.0, null is NaN."""
        if self._stored[self.label].type not in wire.NUMERIC:
            found = wire.type_name(self._stored[self.label].type)
            raise TypeError(
                f"the label {self.label!r} is a {found} column, not a number; "
                f"read it by dataset.numpy({self.label!r})"
            )
        return self.numpy(self.label).astype(np.float64)

    @property
    def event_timestamps(self) -> Array:
        """When each row happened: datetime64[us], UTC."""
        return self.numpy(EVENT_TIMESTAMP)

    def to_pandas(self) -> pandas.DataFrame:
        """Every column as a pandas DataFrame."""
        return frame({name: self.numpy(name) for name in self._stored})

    def column_type(self, name: str) -> int:
        return self._stored[name].type

    def is_numeric(self, name: str) -> bool:
        return self.column_type(name) in wire.NUMERIC

    def matrix(self) -> NDArray[np.float64]:
        """The features, all numeric, as one float64 array of rows by features."""
        out = np.empty((self.rows, len(self.features)))
        for position, name in enumerate(self.features):
            out[:, position] = self.numpy(name)
        return out

    def head(self, rows: int) -> Dataset:
        return self._slice(self._start, min(self._start + rows, self._stop))

    def _slice(self, start: int, stop: int) -> Dataset:
        return Dataset(self._stored, self.features, self.label, start, stop, self._evaluation_from)


def frame(arrays: dict[str, Array]) -> pandas.DataFrame:
    """A pandas DataFrame with text as category dtype, which both LightGBM and scikit-learn take."""
    import pandas  # Only where a user or a model asks for a frame.

    return pandas.DataFrame(
        {
            name: pandas.Categorical(values) if values.dtype == object else values
            for name, values in arrays.items()
        }
    )


def read(path: str, features: Sequence[str], label: str, evaluation_from: int) -> Dataset:
    """Reads a dataset file: Columns messages of at most 65,536 rows, each behind its length."""
    stored: dict[str, StoredColumn] = {}
    rows = 0
    try:
        with Path(path).open("rb") as file:
            for chunk in _chunks(file, path):
                _append(stored, chunk, path)
                rows += chunk.rows
    except OSError as error:
        raise internal(f"the dataset {path} cannot be read: {error.strerror}") from error
    if not stored:
        raise internal(f"the dataset {path} has no columns; write at least one chunk")
    missing = [name for name in [*features, label] if name not in stored]
    if missing:
        raise internal(
            f"the dataset {path} has no column {', '.join(missing)}; it has {', '.join(stored)}"
        )
    return Dataset(stored, features, label, 0, rows, evaluation_from)


def _chunks(file: BinaryIO, path: str) -> Iterator[Columns]:
    while header := file.read(LENGTH.size):
        if len(header) < LENGTH.size:
            raise internal(f"the dataset {path} ends in the middle of a length; write it again")
        (size,) = LENGTH.unpack(header)
        payload = file.read(size)
        if len(payload) < size:
            raise internal(
                f"the dataset {path} is cut: a chunk of {size} bytes has {len(payload)}; "
                "write it again"
            )
        yield Columns.FromString(payload)


def _append(stored: dict[str, StoredColumn], chunk: Columns, path: str) -> None:
    shape = {column.name: column.type for column in chunk.columns}
    if not stored:
        for name, column_type in shape.items():
            stored[name] = StoredColumn(name, column_type)
    elif shape != {column.name: column.type for column in stored.values()}:
        raise internal(f"the chunks of the dataset {path} differ in columns or types")
    for column in chunk.columns:
        valid = wire.validity(column, chunk.rows)
        values: Any
        if column.type == wire.STRING:
            values = wire.strings(column, chunk.rows, valid)
        else:
            values = wire.packed_values(column, chunk.rows)
        stored[column.name].append(values, valid)
