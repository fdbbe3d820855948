"""Models of libraries whose objects are not estimators, from training to serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from platform_side import Platform
from test_models import NUMERIC, predicted, rows_of, trained

from martlet_worker import worker_pb2 as pb

BOOSTER = """
import xgboost

def train(dataset, context):
    data = xgboost.DMatrix(dataset.matrix(), dataset.y)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 10)
"""

ONNX = """
from onnx import TensorProto, helper

def train(dataset, context):
    weights = helper.make_tensor("w", TensorProto.DOUBLE, [2, 1], [0.25, -0.5])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, 1])], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
"""

TWO_INPUTS = ONNX.replace(
    '[helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])]',
    "[helper.make_tensor_value_info(n, TensorProto.DOUBLE, [None, 2]) for n in ('x', 'z')]",
)

LOADS = """
import numpy as np

class Late:
    def load(self):
        self.factor = 3.0

    def predict(self, columns):
        return np.asarray(columns["orders"], dtype=float) * self.factor

def train(dataset, context):
    model = Late()
    model.load()
    return model
"""

NO_LIBRARY = ONNX.replace("def train", "import sys\nsys.modules['onnxruntime'] = None\n\ndef train")


def served(platform: Platform, source: str, customers: Path) -> tuple[list[float], pb.Columns]:
    """What a worker answers for the last rows, which are those that training evaluated on."""
    model = trained(platform.train(source, customers, features=NUMERIC, evaluation_from=300))
    platform.load(model)
    rows = rows_of(customers, 300, 400, NUMERIC)
    answers = platform.predict(rows)
    assert answers == predicted(model.evaluation_predictions).tolist()
    return answers, rows


def test_a_load_that_wants_a_path_is_left_alone(platform: Platform, customers: Path) -> None:
    source = LOADS.replace("def load(self):", "def load(self, path):").replace(
        "model.load()", "model.load('here')"
    )
    served(platform, source, customers)


def column(rows: pb.Columns, name: str) -> np.ndarray:
    (found,) = (one for one in rows.columns if one.name == name)
    return np.frombuffer(found.values, "<i8" if found.type == pb.Column.INT64 else "<f8")


def test_a_booster_of_xgboost_takes_rows(platform: Platform, customers: Path) -> None:
    answers, _ = served(platform, BOOSTER, customers)
    assert all(0 < answer < 1 for answer in answers)


def test_an_onnx_model_is_run_by_onnx_runtime(platform: Platform, customers: Path) -> None:
    answers, rows = served(platform, ONNX, customers)
    expected = 0.25 * column(rows, "orders") - 0.5 * column(rows, "spent")
    assert answers == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_model_with_load_makes_itself_ready(platform: Platform, customers: Path) -> None:
    answers, rows = served(platform, LOADS, customers)
    assert answers == (3.0 * column(rows, "orders")).tolist()


def test_an_onnx_model_with_other_inputs_is_refused(platform: Platform, customers: Path) -> None:
    fault = platform.train(TWO_INPUTS, customers, features=NUMERIC, evaluation_from=300)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == pb.Fault.BAD_OUTPUT
    assert "x tensor(double), z tensor(double)" in fault.message


def test_a_library_that_is_missing_is_told_at_training(platform: Platform, customers: Path) -> None:
    fault = platform.train(NO_LIBRARY, customers, features=NUMERIC, evaluation_from=300)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == pb.Fault.LIBRARY_MISSING
    assert "pip install onnxruntime" in fault.message
