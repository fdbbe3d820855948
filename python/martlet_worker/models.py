"""The models this worker holds, by name and version."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np

from martlet_worker import artifact
from martlet_worker import columns as wire
from martlet_worker.columns import packed_column
from martlet_worker.faults import TaskFault, internal
from martlet_worker.worker_pb2 import Columns, Fault, LoadModel, Predict, Predicted, Unload


class Models:
    """Loads, asks and drops models; several versions of one model may be loaded at once."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._loaded: dict[tuple[str, int], artifact.LoadedModel] = {}
        self._warn = warn

    def load(self, task: LoadModel) -> None:
        name = f"{task.model} version {task.version}"
        if task.format != artifact.FORMAT:
            raise internal(f"{name} has the format {task.format!r}; this worker reads 'pickle'")
        if task.artifact:
            data = artifact.verified(task.artifact, f"that came with {name}", task.sha256)
        else:
            data = artifact.read_verified(task.artifact_path, task.sha256)
        loaded = artifact.opened(
            data,
            f"{task.model}-{task.version}",
            lambda meta: _check_libraries(name, meta, task.library_versions),
        )
        trained_on = list(loaded.meta.scoring.features)
        if task.features and sorted(task.features) != sorted(trained_on):
            loaded.code.leave()
            raise internal(
                f"{name} was trained on {', '.join(trained_on)}, but is to be loaded for "
                f"{', '.join(task.features)}"
            )
        if differences := loaded.version_differences():
            self._warn(
                f"{name} was trained with other libraries: {'; '.join(differences)}. "
                "Train it again, or install the versions it was trained with"
            )
        self._warm(loaded)
        loaded.scorer.quicken()
        self._loaded[task.model, task.version] = loaded

    def predict(self, task: Predict) -> Predicted:
        loaded = self._loaded.get((task.model, task.version))
        if loaded is None:
            raise TaskFault(
                Fault.NOT_LOADED,
                f"{task.model} version {task.version} is not loaded in this worker; load it first",
            )
        loaded.code.enter()
        return Predicted(predictions=wire.predictions(loaded.scorer.score(task.rows)))

    def unload(self, task: Unload) -> None:
        loaded = self._loaded.pop((task.model, task.version), None)
        if loaded is not None:
            loaded.code.leave()
            del loaded
            # Models are full of reference cycles; their memory is wanted back now.
            gc.collect()

    def _warm(self, loaded: artifact.LoadedModel) -> None:
        """One row of nulls, so that lazy imports and first-call costs are paid now.

        A model may well refuse nulls; that says nothing about it.
        """
        scoring = loaded.meta.scoring
        null = np.zeros(1, np.bool_)
        row = Columns(
            rows=1,
            columns=[
                packed_column(
                    name,
                    column_type,
                    np.array([None] if column_type == wire.STRING else [0]),
                    null,
                )
                for name, column_type in zip(scoring.features, scoring.types, strict=True)
            ],
        )
        try:
            loaded.scorer.score(row)
        except Exception:
            return


def _check_libraries(name: str, meta: artifact.Meta, policy: str) -> None:
    """Refuses an artifact of other library versions, before any of it is unpickled."""
    if clashes := meta.clashes(policy):
        raise TaskFault(
            Fault.LIBRARY_MISSING,
            f"{name} was trained with other library versions and was not opened: "
            f"{'; '.join(clashes)}. Train it again, install the versions it was trained with, or "
            "allow more (workers.library_versions: minor, off)",
        )
