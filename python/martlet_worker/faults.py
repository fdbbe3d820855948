"""How a task fails: one exception type, and the translation of what user code raises."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

from martlet_worker.limits import TRACEBACK_BYTES
from martlet_worker.worker_pb2 import Fault

RUNTIME_DIRECTORY = str(Path(__file__).resolve().parent)


class TaskFault(Exception):
    """A failure with its kind decided; the worker answers it and lives on."""

    def __init__(self, kind: Fault.Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def bad_output(message: str) -> TaskFault:
    return TaskFault(Fault.BAD_OUTPUT, message)


def internal(message: str) -> TaskFault:
    return TaskFault(Fault.INTERNAL, message)


def describe(task_id: str, error: BaseException) -> Fault:
    """Turns whatever a task raised into its Fault."""
    fault = Fault(task_id=task_id)
    if isinstance(error, TaskFault):
        fault.kind = error.kind
        fault.message = error.message
        if error.__cause__ is None:
            return fault
        error = error.__cause__
    else:
        fault.kind, fault.message = classify(error)
    fault.traceback_last_line = last_line(error)
    fault.traceback = user_traceback(error)
    return fault


def classify(error: BaseException) -> tuple[Fault.Kind, str]:
    where = _user_place(error)
    if where is None:
        if not isinstance(error, ModuleNotFoundError):
            return Fault.INTERNAL, f"the worker failed at the task: {last_line(error)}"
        where = "the task"
    if isinstance(error, ModuleNotFoundError):
        return Fault.LIBRARY_MISSING, (
            f"{where} needs the module {error.name!r}, which {sys.executable} does not have; "
            "install it into that environment, or choose another environment for this project"
        )
    if isinstance(error, SystemExit):
        return Fault.USER_ERROR, (
            f"{where} called sys.exit({error.code!r}); raise an exception or return a value instead"
        )
    if isinstance(error, MemoryError):
        return Fault.USER_ERROR, f"{where} ran out of memory; use less data or a larger machine"
    return Fault.USER_ERROR, f"{where} raised {last_line(error)}"


def last_line(error: BaseException) -> str:
    """The exception's type and the first line of its message, as a traceback ends."""
    name = type(error).__qualname__
    module = type(error).__module__
    if module not in ("builtins", "__main__"):
        name = f"{module}.{name}"
    try:
        text = str(error)
    except Exception:
        text = "<the exception has no text>"
    lines = text.strip().splitlines()
    return f"{name}: {lines[0]}" if lines else name


def user_traceback(error: BaseException) -> str:
    """The traceback from the user's first frame on, cut in the middle when it is very long."""
    report = traceback.TracebackException(type(error), error, _skip_runtime(error.__traceback__))
    text = "".join(report.format())
    if len(text) > TRACEBACK_BYTES:
        half = TRACEBACK_BYTES // 2
        text = f"{text[:half]}\n  [{len(text) - 2 * half} characters left out]\n{text[-half:]}"
    return text


def is_runtime(frame_file: str) -> bool:
    """Whether code of that file is the worker's own, not the user's."""
    # A frame has the path its module was found by, which may lead through a link.
    return frame_file.startswith("<frozen importlib") or os.path.realpath(frame_file).startswith(
        RUNTIME_DIRECTORY + os.sep
    )


def _skip_runtime(trace: TracebackType | None) -> TracebackType | None:
    first = trace
    while trace is not None and is_runtime(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    # Nothing but the runtime's own frames: better those than none.
    return trace if trace is not None else first


def _user_place(error: BaseException) -> str | None:
    """Where the user's code, or a library it called, was; None when none was involved."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    trace = _skip_runtime(error.__traceback__)
    if trace is None or is_runtime(trace.tb_frame.f_code.co_filename):
        return None
    code = trace.tb_frame.f_code
    return f"{code.co_filename}:{trace.tb_lineno} ({code.co_name})"
