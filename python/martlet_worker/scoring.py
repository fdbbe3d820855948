"""How rows become predictions: decided once at training, stored with the model, quick to do."""

from __future__ import annotations

import inspect
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from martlet_worker import columns as wire
from martlet_worker import quick
from martlet_worker.dataset import Dataset, frame
from martlet_worker.faults import bad_output, internal
from martlet_worker.worker_pb2 import Column, Columns

ARRAY = "array"
FRAME = "frame"
COLUMNS = "columns"

# Rows on which array and frame input must give the same answer before the array is trusted.
COMPARED_ROWS = 256

ESTIMATOR_LIBRARIES = {"catboost", "lightgbm", "sklearn", "xgboost"}
# A parameter of this name says that predict takes a table rather than a mapping of columns.
TABLE_PARAMETERS = {"X", "x", "data", "df", "frame"}

UNPACK: dict[int, Callable[[bytes], tuple[Any, ...]]] = {
    wire.BOOL: struct.Struct("<B").unpack,
    wire.INT64: struct.Struct("<q").unpack,
    wire.DOUBLE: struct.Struct("<d").unpack,
}

# A frame's names are checked once, by the choice of input below; an array carries none.
warnings.filterwarnings("ignore", message="X does not have valid feature names")


@dataclass(frozen=True)
class Scoring:
    """What a stored model needs to be asked: which method, which input, which columns."""

    method: str
    input: str
    features: tuple[str, ...]
    # The column types at training, by feature.
    types: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "input": self.input,
            "features": list(self.features),
            "types": [wire.type_name(column_type) for column_type in self.types],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scoring:
        types = tuple(Column.Type.Value(name) for name in value["types"])
        return cls(value["method"], value["input"], tuple(value["features"]), types)


class Scorer:
    """A model ready to be asked."""

    def __init__(self, model: Any, scoring: Scoring) -> None:
        self.scoring = scoring
        self.model = model
        self._quick: quick.Ask | None = None
        self._ask = getattr(model, scoring.method)
        self._positions = {name: place for place, name in enumerate(scoring.features)}
        self._width = len(scoring.features)
        self._proba = scoring.method == "predict_proba"

    def quicken(self) -> None:
        """Looks for a shorter way to ask for one row; worth its cost only where many will come."""
        if self.scoring.input == ARRAY:
            self._quick = quick.shortcut(self.model, self.scoring.method, self._width)

    def score(self, rows: Columns) -> NDArray[np.float64]:
        """One number for each row; the input's column order is free."""
        if self.scoring.input == ARRAY:
            if rows.rows != 1:
                return self._checked(self._ask(self._matrix(rows)), rows.rows)
            row = self._single(rows)
            if self._quick is not None and (value := self._quick(row)) is not None:
                return np.array([value])
            return self._checked(self._ask(row), 1)
        arrays = self._arrays(rows)
        given = arrays if self.scoring.input == COLUMNS else frame(arrays)
        return self._checked(self._ask(given), rows.rows)

    def score_dataset(self, dataset: Dataset) -> NDArray[np.float64]:
        if dataset.rows == 0:
            return np.empty(0)
        return self._checked(self._ask(_given(dataset, self.scoring.input)), dataset.rows)

    def _single(self, rows: Columns) -> NDArray[np.float64]:
        values: list[Any] = [None] * self._width
        positions = self._positions
        found = 0
        for column in rows.columns:
            place = positions.get(column.name)
            if place is None:
                continue
            found += 1
            try:
                (value,) = UNPACK[column.type](column.values)
            except (KeyError, struct.error):
                raise self._not_a_number(column, 1) from None
            values[place] = np.nan if column.validity == b"\0" else value
        if found != self._width:
            raise self._missing(rows)
        return np.array([values], np.float64)

    def _matrix(self, rows: Columns) -> NDArray[np.float64]:
        out = np.empty((rows.rows, self._width))
        found = 0
        for column in rows.columns:
            place = self._positions.get(column.name)
            if place is None:
                continue
            found += 1
            if column.type not in wire.NUMERIC:
                raise self._not_a_number(column, rows.rows)
            out[:, place] = wire.array(column, rows.rows)
        if found != self._width:
            raise self._missing(rows)
        return out

    def _arrays(self, rows: Columns) -> dict[str, wire.Array]:
        given = {column.name: column for column in rows.columns}
        if any(name not in given for name in self.scoring.features):
            raise self._missing(rows)
        return {name: wire.array(given[name], rows.rows) for name in self.scoring.features}

    def _checked(self, answer: Any, rows: int) -> NDArray[np.float64]:
        values = np.asarray(answer)
        if self._proba:
            if values.shape != (rows, 2):
                raise bad_output(
                    f"predict_proba answered an array of shape {values.shape}; expected "
                    f"({rows}, 2), one row of two classes each" + _class_hint(values)
                )
            values = values[:, 1]
        elif values.shape == (rows, 1):
            values = values[:, 0]
        if values.shape != (rows,):
            raise bad_output(
                f"{self.scoring.method} answered an array of shape {values.shape}; "
                f"expected ({rows},), one number for each row"
            )
        if values.dtype == object:
            values = _floats(values, self.scoring.method)
        if values.dtype.kind not in "biuf":
            raise bad_output(
                f"{self.scoring.method} answered values of dtype {values.dtype}; expected numbers"
            )
        return values.astype(np.float64, copy=False)

    def _missing(self, rows: Columns) -> Exception:
        names = [column.name for column in rows.columns]
        missing = [name for name in self.scoring.features if name not in names]
        if not missing:
            return internal(f"a column came twice: {', '.join(names)}")
        return internal(
            f"the rows have no column {', '.join(missing)}; the model was trained on "
            f"{', '.join(self.scoring.features)}"
        )

    def _not_a_number(self, column: Column, rows: int) -> Exception:
        if column.type in wire.NUMERIC:
            return internal(
                f"column {column.name!r} holds {len(column.values)} bytes, which is not "
                f"{rows} row of {wire.type_name(column.type)}"
            )
        return internal(
            f"column {column.name!r} came as {wire.type_name(column.type)}; "
            "the model was trained on a number there"
        )


def _class_hint(values: wire.Array) -> str:
    if values.ndim == 2 and values.shape[1] == 1:
        return "; the label has one class only in the training rows"
    if values.ndim == 2 and values.shape[1] > 2:
        return "; for more than two classes return an object whose predict gives one number"
    return ""


def _floats(values: wire.Array, method: str) -> NDArray[np.float64]:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise bad_output(f"{method} answered values that are not all numbers: {error}") from error


def _given(dataset: Dataset, kind: str) -> Any:
    if kind == ARRAY:
        return dataset.matrix()
    if kind == FRAME:
        return dataset.X
    return {name: dataset.numpy(name) for name in dataset.features}


def choose(model: Any, dataset: Dataset, types: Sequence[int]) -> Scoring:
    """Decides how to ask the model the user returned, by asking it for a few rows.

    An array is the quicker input, so it is taken when it gives the same answer as a frame.
    """
    if model is None:
        raise bad_output("the training function returned None; return the fitted model")
    method = next((name for name in ("predict_proba", "predict") if _has(model, name)), None)
    if method is None:
        raise bad_output(
            f"the training function returned a {type(model).__name__} without predict_proba or "
            "predict; return the fitted model"
        )

    def scoring(kind: str) -> Scoring:
        return Scoring(method, kind, tuple(dataset.features), tuple(types))

    if not _takes_table(model, method):
        return scoring(COLUMNS)
    if not all(dataset.is_numeric(name) for name in dataset.features):
        return scoring(FRAME)
    sample = dataset.head(COMPARED_ROWS)
    try:
        by_frame = Scorer(model, scoring(FRAME)).score_dataset(sample)
    except Exception:
        # No pandas here, or a model that takes arrays only: the array speaks for itself, and
        # raises below, at the real predictions, if it cannot either.
        return scoring(ARRAY)
    try:
        by_array = Scorer(model, scoring(ARRAY)).score_dataset(sample)
    except Exception:
        return scoring(FRAME)
    # A frame lies in memory by columns and an array by rows, so sums may round differently.
    same = np.allclose(by_frame, by_array, rtol=1e-9, atol=1e-12, equal_nan=True)
    return scoring(ARRAY if same else FRAME)


def _has(model: Any, name: str) -> bool:
    return callable(getattr(model, name, None))


def _takes_table(model: Any, method: str) -> bool:
    if any(
        kind.__module__.partition(".")[0] in ESTIMATOR_LIBRARIES for kind in type(model).__mro__
    ):
        return True
    try:
        parameters = list(inspect.signature(getattr(model, method)).parameters)
    except (TypeError, ValueError):
        return True
    return bool(parameters) and parameters[0] in TABLE_PARAMETERS
