"""One training run: the user's function on the training slice, then store, reopen and predict."""

from __future__ import annotations

import json
import numbers
import os
import random
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

from martlet_worker import artifact, dataset, frameworks, native
from martlet_worker import columns as wire
from martlet_worker.faults import bad_output, internal
from martlet_worker.scoring import choose
from martlet_worker.usercode import FolderCode, user_file, user_function
from martlet_worker.worker_pb2 import Train, Trained


class Context:
    """What the user's `train(dataset, context)` gets beside the data.

    `params` are the options of the definitions; `metrics` is a dict to fill with numbers; `workdir`
    is a folder of this run alone, removed afterwards; `random_seed` is already in force for
    `random` and `numpy.random`.
    """

    def __init__(
        self, params: dict[str, Any], workdir: Path, random_seed: int, say: Callable[[str], None]
    ) -> None:
        self.params = params
        self.workdir = workdir
        self.random_seed = random_seed
        self.metrics: dict[str, float] = {}
        self._say = say

    def log(self, msg: object) -> None:
        """Sends one line to the run's log."""
        self._say(str(msg))


def train(task: Train, say: Callable[[str], None]) -> Trained:
    """Runs the task. The stored artifact is opened again and that model predicts both slices, so
    what is evaluated is what will be served."""
    data = dataset.read(task.dataset_path, task.features, task.label, task.evaluation_from)
    if data.train.rows == 0:
        raise internal(
            f"the dataset {task.dataset_path} has {data.rows} rows and evaluation starts at row "
            f"{task.evaluation_from}: nothing to train on"
        )
    output = Path(task.output_directory).resolve()
    output.mkdir(parents=True, exist_ok=True)
    workdir = output / f".work-{os.getpid()}"
    workdir.mkdir(exist_ok=True)
    try:
        context = _context(task, workdir, say)
        packed, meta = _fit(task, data, context)
    finally:
        shutil.rmtree(workdir, ignore_errors=True)
    path = artifact.store(packed, output)
    loaded = artifact.opened(packed, path.name)
    try:
        native.store(loaded.scorer.model, loaded.meta.scoring, output)
        return Trained(
            artifact_path=str(path),
            format=artifact.FORMAT,
            sha256=artifact.digest(packed),
            evaluation_predictions=wire.predictions(loaded.scorer.score_dataset(data.evaluation)),
            training_predictions=wire.predictions(loaded.scorer.score_dataset(data.train)),
            metrics=_metrics(context.metrics),
            libraries=meta.libraries,
        )
    finally:
        loaded.code.leave()


def _context(task: Train, workdir: Path, say: Callable[[str], None]) -> Context:
    try:
        params = json.loads(task.options_json or "{}")
    except ValueError as error:
        raise internal(f"the training options are not JSON: {error}") from error
    if not isinstance(params, dict):
        raise internal(f"the training options are a {type(params).__name__}, not an object")
    seed = params.get("random_seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise internal(f"random_seed is {seed!r}; give a whole number from 0 to 4294967295")
    return Context(params, workdir, seed, say)


def _fit(task: Train, data: dataset.Dataset, context: Context) -> tuple[bytes, artifact.Meta]:
    file = user_file(task.run_path, task.working_directory)
    directory = Path(task.working_directory or file.parent)
    if not directory.is_dir():
        raise internal(f"the working directory {directory} does not exist")
    code = FolderCode(file)
    code.enter()
    try:
        with chdir(directory):
            random.seed(context.random_seed)
            np.random.seed(context.random_seed)
            function = user_function(code.run(), file, task.function)
            model = frameworks.adapted(function(data.train, context))
            _metrics(context.metrics)
            types = [data.column_type(name) for name in data.features]
            scoring = choose(model, data.train, types)
            return artifact.packed(model, scoring, code.sources())
    finally:
        code.leave()


def _metrics(given: Any) -> dict[str, float]:
    if not isinstance(given, dict):
        raise bad_output(f"context.metrics was replaced by a {type(given).__name__}; fill the dict")
    for name, value in given.items():
        number = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
        if not isinstance(name, str) or not number:
            raise bad_output(
                f"context.metrics[{name!r}] is a {type(value).__name__}; "
                "metrics are numbers by name"
            )
    return {name: float(value) for name, value in given.items()}
