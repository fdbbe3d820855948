"""Whose fault a failure is: the user's code, or the worker's."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pytest

from martlet_worker import faults
from martlet_worker.worker_pb2 import Fault


def _error_in(file: Path) -> BaseException:
    """An exception whose only frame is in `file`, by the path it was found by."""
    scope: dict[str, object] = {}
    exec(compile("def fail():\n    raise KeyError('x')\n", str(file), "exec"), scope)
    fail = scope["fail"]
    assert callable(fail)
    with pytest.raises(KeyError) as caught:
        fail()
    trace: TracebackType | None = caught.value.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(file):
        trace = trace.tb_next
    return caught.value.with_traceback(trace)


@pytest.fixture
def linked_runtime(tmp_path: Path) -> Path:
    """The worker's folder by way of a link, as in a checkout that is one."""
    link = tmp_path / "checkout"
    link.symlink_to(Path(faults.__file__).resolve().parent, target_is_directory=True)
    return link


def test_the_worker_knows_its_own_code_through_a_link(linked_runtime: Path) -> None:
    kind, message = faults.classify(_error_in(linked_runtime / "columns.py"))
    assert kind == Fault.INTERNAL
    assert "the worker failed at the task" in message


def test_code_beside_the_worker_is_the_users(tmp_path: Path) -> None:
    beside = Path(faults.RUNTIME_DIRECTORY + "_of_mine") / "train.py"
    for file in (tmp_path / "train.py", beside):
        kind, message = faults.classify(_error_in(file))
        assert kind == Fault.USER_ERROR
        assert f"{file}:2 (fail) raised KeyError: 'x'" in message
