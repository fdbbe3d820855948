"""The notebooks of the examples run from top to bottom on a real platform, and are kept clean."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from running_platform import CHECKOUT, RunningPlatform, needs_binary

NOTEBOOKS = sorted((CHECKOUT / "examples").rglob("*.ipynb"))
CELL_SECONDS = 120


@needs_binary
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("martlet-data"))
    running = RunningPlatform(folder)
    try:
        notebook = nbformat.read(folder / path.name, as_version=4)
        for name in [name for name in running.environment if name.startswith("MARTLET_")]:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PYTHONPATH", str(CHECKOUT / "python"))
        monkeypatch.delenv("MPLBACKEND", raising=False)
        kernel = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        kernel.execute()
    finally:
        status = running.stop()
    assert status == 0, running.log.read_text()
    print(nbformat.writes(notebook))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [o for o in outputs if o.output_type == "error"] == []
    drawn = [o for o in outputs if "image/png" in o.get("data", {})]
    assert drawn, "the notebook draws nothing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_places(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    nbformat.validate(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, cell["source"]
    assert not re.search(r"/(home|root|Users|work|tmp)/", text)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS
