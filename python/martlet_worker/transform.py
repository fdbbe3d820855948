"""The user's transform over a batch of events: columns in, columns out, the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from martlet_worker import columns as wire
from martlet_worker import pins
from martlet_worker.columns import Array
from martlet_worker.faults import TaskFault, bad_output, last_line, user_traceback
from martlet_worker.usercode import FolderCode, user_file, user_function
from martlet_worker.worker_pb2 import Column, Columns, RowError, Transform, Transformed

Function = Callable[[dict[str, Array]], Any]


class ImportedTransform:
    """A user's module, imported once and again when one of its files changes."""

    def __init__(self, file: Path) -> None:
        self.code = FolderCode(file)
        self.code.enter()
        try:
            self.module = self.code.run()
        except BaseException:
            self.code.leave()
            raise
        self._stamp = {file: stamp(file) for file in self.code.files()}

    def current(self) -> bool:
        return self._stamp == {file: stamp(file) for file in self._stamp}


def stamp(file: Path) -> tuple[int, int]:
    """What tells whether a file has changed since."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


class Transforms:
    """The transforms this worker has imported, by file."""

    def __init__(self) -> None:
        self._imported: dict[Path, ImportedTransform] = {}
        self._checked: set[str] = set()

    def apply(self, task: Transform) -> Transformed:
        if task.requirements and task.requirements not in self._checked:
            # Before the import: the wrong version of a library may fail in it in any way.
            pins.check(task.requirements)
            self._checked = {task.requirements}
        file = user_file(task.code_path, "")
        imported = self._imported.get(file)
        if imported is None or not imported.current():
            if imported is not None:
                # Its modules must not be the ones that the new import finds.
                imported.code.leave()
            imported = self._imported[file] = ImportedTransform(file)
        imported.code.enter()
        function = user_function(imported.module, file, task.function)
        return transformed(function, task.rows, explain=task.explain)


@dataclass(frozen=True)
class Piece:
    """Rows [start, stop) of the batch: what the function returned for them, or why it raised."""

    start: int
    stop: int
    values: Mapping[str, Any] | None
    error: str = ""
    traceback: str = ""


def transformed(function: Function, rows: Columns, *, explain: bool = False) -> Transformed:
    """Calls the function; narrows down to the rows for which it raises or answers nonsense.

    With `explain` every such row has its whole traceback. What is wrong with the answer for every
    row, or with its shape, is a fault of the function.
    """
    like = {column.name: column for column in rows.columns}
    pieces = _pieces(function, wire.arrays(rows), 0, rows.rows)
    try:
        return Transformed(
            rows=_table(pieces, rows.rows, like), row_errors=_errors(pieces, explain)
        )
    except TaskFault as fault:
        pieces = _alike(_pieces(_checked(function, like), wire.arrays(rows), 0, rows.rows), like)
        if all(piece.values is None for piece in pieces):
            raise fault from None
    return Transformed(rows=_table(pieces, rows.rows, like), row_errors=_errors(pieces, explain))


def _checked(function: Function, like: Mapping[str, Column]) -> Function:
    """The function, raising also for an answer that cannot be kept."""

    def checked(part: dict[str, Array]) -> Mapping[str, Any]:
        count = len(next(iter(part.values()))) if part else 0
        answer = _by_name(function(part), count)
        wire.table(answer, count, like)
        return answer

    return checked


def _alike(pieces: list[Piece], like: Mapping[str, Column]) -> list[Piece]:
    """Pieces whose columns are of other kinds than those of most rows become failures."""
    kinds: dict[tuple[str, ...], int] = {}
    found = []
    for piece in pieces:
        count = piece.stop - piece.start
        columns = [] if piece.values is None else wire.table(piece.values, count, like).columns
        kind = tuple(
            ("number" if column.type in (wire.INT64, wire.DOUBLE) else str(column.type))
            + ("[]" if column.offsets or column.length else "")
            for column in columns
        )
        found.append(kind)
        if piece.values is not None:
            kinds[kind] = kinds.get(kind, 0) + count
    most = max(kinds, key=lambda kind: kinds[kind], default=())
    out: list[Piece] = []
    for piece, kind in zip(pieces, found, strict=True):
        if piece.values is None or kind == most:
            out.append(piece)
            continue
        names = ", ".join(piece.values)
        why = f"columns {names} are of other types than for most rows; a column holds one type"
        out += [Piece(row, row + 1, None, why) for row in range(piece.start, piece.stop)]
    return out


def _errors(pieces: list[Piece], explain: bool) -> list[RowError]:
    return [
        RowError(row=piece.start, message=piece.error, traceback=piece.traceback if explain else "")
        for piece in pieces
        if piece.error
    ]


def _table(pieces: list[Piece], rows: int, like: Mapping[str, Column]) -> Columns:
    kept = [piece for piece in pieces if piece.values is not None]
    if not kept:
        return Columns(rows=rows)
    if len(pieces) == 1 and kept[0].values is not None:
        return wire.table(kept[0].values, rows, like)
    return _joined(kept, rows, like)


def _pieces(function: Function, arrays: dict[str, Array], start: int, stop: int) -> list[Piece]:
    part = {name: values[start:stop] for name, values in arrays.items()}
    try:
        answer = function(part)
    except (ModuleNotFoundError, MemoryError):
        # Not a matter of one row.
        raise
    except Exception as error:
        if stop - start <= 1:
            if stop == start:
                return []
            why = error.message if isinstance(error, TaskFault) else last_line(error)
            return [Piece(start, stop, None, why, user_traceback(error))]
        middle = (start + stop) // 2
        return _pieces(function, arrays, start, middle) + _pieces(function, arrays, middle, stop)
    return [Piece(start, stop, _by_name(answer, stop - start))]


def _by_name(answer: Any, rows: int) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        if not (hasattr(answer, "columns") and hasattr(answer, "__getitem__")):
            raise bad_output(
                f"the transform returned a {type(answer).__name__}; "
                "return a dict of columns by name, or a DataFrame"
            )
        answer = {name: answer[name] for name in answer.columns}
    named: Mapping[str, Any] = answer
    for name, values in named.items():
        wire.check_rows(name, values, rows)
    return named


def _joined(kept: list[Piece], rows: int, like: Mapping[str, Column]) -> Columns:
    names = list(kept[0].values or {})
    for piece in kept:
        if set(piece.values or {}) != set(names):
            raise bad_output(
                "the transform returned different columns for different rows: "
                f"{', '.join(names)} and then {', '.join(piece.values or {})}"
            )
    out: dict[str, Any] = {}
    for name in names:
        whole = np.empty(rows, dtype=object)
        for piece in kept:
            whole[piece.start : piece.stop] = _objects((piece.values or {})[name])
        out[name] = whole
    return wire.table(out, rows, like)


def _objects(values: Any) -> Array:
    """Values as Python objects, with datetime64 kept whole rather than made a naive datetime."""
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    values = np.ma.filled(values.astype(object), None) if np.ma.isMaskedArray(values) else values
    listed = values if isinstance(values, np.ndarray) else wire.listed(values)
    if listed.ndim == 1 and listed.dtype.kind != "M":
        return listed.astype(object)
    if listed.ndim == 2:
        found, valid = wire.cells("of arrays", listed)
        rows = [cell if here else None for cell, here in zip(found, valid, strict=True)]
    else:
        rows = list(listed)
    out = np.empty(len(listed), dtype=object)
    for row, value in enumerate(rows):
        out[row] = value
    return out
