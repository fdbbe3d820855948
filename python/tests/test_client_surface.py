"""Both clients are the same to their users, and typed."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import martlet
from martlet import AsyncClient, Client, Job
from martlet.values import from_wire, to_wire

PYTHON = Path(__file__).resolve().parents[1]


def calls(client: type) -> dict[str, Callable[..., Any]]:
    found = inspect.getmembers(client, inspect.isfunction)
    return {name: call for name, call in found if not name.startswith("_")}


def test_both_clients_have_the_same_calls_with_the_same_arguments_and_words() -> None:
    sync, other = calls(Client), calls(AsyncClient)
    assert sync.keys() == other.keys()
    assert len(sync) > 30
    for name, call in sync.items():
        assert inspect.signature(call) == inspect.signature(other[name]), name
        assert call.__doc__ and call.__doc__ == other[name].__doc__, name
        assert inspect.iscoroutinefunction(other[name]), name
        assert not inspect.iscoroutinefunction(call), name
    assert inspect.signature(Client.__init__) == inspect.signature(AsyncClient.__init__)


def test_what_the_issue_of_a_client_names_is_there() -> None:
    named = "get_online get_history push ingest plan apply lineage verify predict train sql"
    assert set(named.split()) <= calls(Client).keys()


def test_the_package_is_strictly_typed() -> None:
    assert (PYTHON / "martlet" / "py.typed").exists()
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "-p", "martlet"],
        cwd=PYTHON,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_type_checker_knows_the_kind_of_table(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import polars as pl\n"
        "from martlet import AsyncClient, Client\n"
        "client = Client()\n"
        "spine = pl.DataFrame()\n"
        "reveal_type(client.get_history(spine, ['a.b']))\n"
        "reveal_type(client.get_history('spine.csv', ['a.b'], as_='polars'))\n"
        "reveal_type(client.push('orders', {'a': 1}).accepted)\n"
        "async def later() -> None:\n"
        "    reveal_type(await AsyncClient().sql('SELECT 1', as_='polars'))\n"
        "client.get_history(spine)\n"
        "client.sql('SELECT 1', as_='excel')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(program)],
        cwd=PYTHON,
        capture_output=True,
        text=True,
        check=False,
    )
    frame = 'Revealed type is "polars.dataframe.frame.DataFrame"'
    assert done.stdout.count(frame) == 3, done.stdout
    assert 'Revealed type is "int"' in done.stdout
    assert done.stdout.count(": error:") == 2, done.stdout


def test_importing_the_client_needs_neither_pandas_nor_polars() -> None:
    program = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('pandas', 'polars'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "import pyarrow as pa, martlet\n"
        "from martlet import frames\n"
        "assert frames.form_of(pa.table({'a': [1]})) == 'arrow'\n"
        "for form in ('pandas', 'polars'):\n"
        "    try:\n"
        "        frames.checked_form(form)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PYTHON, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'martlet[pandas]'" in done.stdout
    assert "pip install 'martlet[polars]'" in done.stdout


def test_errors_and_answers_travel_between_processes() -> None:
    receipt = martlet.PushReceipt(accepted=3)
    assert pickle.loads(pickle.dumps(receipt)) == receipt
    error = pickle.loads(pickle.dumps(martlet.OverloadedError("busy", retry_after=2.0)))
    assert (str(error), error.retry_after) == ("busy", 2.0)
    job = Job(id="j", kind="train", state="FAILED", attempt=1)
    failed = pickle.loads(pickle.dumps(martlet.JobFailedError("no", job)))
    assert (str(failed), failed.job) == ("no", job)


@pytest.mark.parametrize("value", [1, -(2**62), 1.5, float("inf"), "ü", True, None, [1.5, 2.5]])
def test_values_survive_the_wire(value: Any) -> None:
    kind = "double[2]" if isinstance(value, list) else "double"
    assert from_wire(to_wire(value, "v"), kind if value is not True else None) == value
