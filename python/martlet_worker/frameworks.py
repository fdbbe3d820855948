"""Models of libraries whose own objects do not take rows, or cannot be pickled.

What a training function returns is wrapped here where it is one of these; everything else is taken
as it is. The wrappers are part of stored artifacts: their names and fields must not change.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from martlet_worker.faults import TaskFault, bad_output
from martlet_worker.worker_pb2 import Fault

Rows = NDArray[np.float64]


def adapted(model: Any) -> Any:
    """The model, or a wrapper with `predict`; no library is imported for it."""
    classes = {
        f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(model).__mro__
    }
    if "xgboost.Booster" in classes:
        return XGBoostBooster(model)
    if "onnx.ModelProto" in classes:
        return OnnxModel(model.SerializeToString())
    if "torch.Module" in classes and not callable(getattr(model, "predict", None)):
        return TorchModule(model)
    return model


def loaded(model: Any) -> Any:
    """Lets a model with a `load` of its own make itself ready, once, where it is to serve."""
    load = getattr(model, "load", None)
    if callable(load) and callable(getattr(model, "predict", None)) and _takes_nothing(load):
        load()
    return model


def _takes_nothing(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(one.default is not one.empty or one.kind in _MANY for one in parameters)


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class XGBoostBooster:
    """A booster of XGBoost, which itself takes no arrays but its own matrices."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def predict(self, X: Any) -> Any:
        return self.booster.inplace_predict(X)


class TorchModule:
    """A module of PyTorch that takes float32 rows and answers one number for each."""

    def __init__(self, module: Any) -> None:
        self.module = module.eval()

    def predict(self, X: Any) -> Any:
        import torch  # Only where a model needs it.

        with torch.no_grad():
            rows = torch.from_numpy(np.ascontiguousarray(X, np.float32))
            return self.module(rows).numpy()


class OnnxModel:
    """An ONNX model with one input, rows of numbers, run by ONNX Runtime on one thread."""

    def __init__(self, serialized: bytes) -> None:
        self.serialized = serialized
        self._open()

    def __getstate__(self) -> dict[str, bytes]:
        return {"serialized": self.serialized}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        self.serialized = state["serialized"]
        self._open()

    def _open(self) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise TaskFault(
                Fault.LIBRARY_MISSING,
                f"an ONNX model needs the module 'onnxruntime', which {sys.executable} does not "
                f"have; `{sys.executable} -m pip install onnxruntime`",
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.serialized, options, providers=["CPUExecutionProvider"]
        )
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _NUMBERS:
            given = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise bad_output(f"the ONNX model takes {given}; expected one tensor of numbers")
        self.input = inputs[0].name
        self.type = _NUMBERS[inputs[0].type]

    def predict(self, X: Any) -> Any:
        answers = self.session.run(None, {self.input: np.ascontiguousarray(X, self.type)})
        # Of a classifier of two classes, the labels come first and the probabilities after them.
        for answer in answers:
            if isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.shape[1] == 2:
                return answer[:, 1]
        return answers[0]


_NUMBERS = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
}
