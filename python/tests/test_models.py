"""Training, the artifact it stores, and predictions by a worker that loads it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from platform_side import Fifo, Platform, sha256, table, write_dataset

from martlet_worker import worker_pb2 as pb
from martlet_worker.dataset import read

NUMERIC = ["orders", "spent"]
ALL = [*NUMERIC, "city"]

LOGISTIC = """
from sklearn.linear_model import LogisticRegression

def train(dataset, context):
    model = LogisticRegression(C=context.params.get("C", 1.0))
    model.fit(dataset.X, dataset.y)
    context.metrics["accuracy"] = model.score(dataset.X, dataset.y)
    context.log(f"fitted on {dataset.rows} rows")
    return model
"""

PIPELINE = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

def train(dataset, context):
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    return make_pipeline(encode, LogisticRegression(max_iter=500)).fit(dataset.X, dataset.y)
"""

BOOSTER = """
import lightgbm

def train(dataset, context):
    data = lightgbm.Dataset(dataset.X, dataset.y)
    options = {"objective": "binary", "verbose": -1, "seed": context.random_seed}
    return lightgbm.train(options, data, num_boost_round=20)
"""

CLASSIFIER = """
from lightgbm import LGBMClassifier

def train(dataset, context):
    return LGBMClassifier(n_estimators=20, verbose=-1).fit(dataset.X, dataset.y)
"""

PLAIN = """
import numpy as np
from rates import RATE

class Doubled:
    def predict(self, columns):
        from rates import RATE
        return np.nan_to_num(columns["orders"]) * RATE

def train(dataset, context):
    return Doubled()
"""


def trained(answer: pb.Result | pb.Fault) -> pb.Trained:
    assert isinstance(answer, pb.Result), answer
    return answer.trained


def predicted(columns: pb.Columns) -> np.ndarray:
    (column,) = columns.columns
    assert column.name == "prediction"
    return np.frombuffer(column.values, "<f8")


def rows_of(path: Path, start: int, stop: int, names: list[str]) -> pb.Columns:
    data = read(str(path), names, "label", 0)
    return table({name: data.numpy(name)[start:stop] for name in names})


@pytest.mark.parametrize(
    ("source", "features"),
    [
        pytest.param(LOGISTIC, NUMERIC, id="LogisticRegression"),
        pytest.param(PIPELINE, ALL, id="scikit-learn pipeline with text"),
        pytest.param(BOOSTER, NUMERIC, id="LightGBM Booster"),
        pytest.param(BOOSTER, ALL, id="LightGBM Booster with text"),
        pytest.param(CLASSIFIER, NUMERIC, id="LGBMClassifier"),
    ],
)
def test_what_is_evaluated_is_what_another_load_predicts(
    platform: Platform, customers: Path, source: str, features: list[str]
) -> None:
    model = trained(platform.train(source, customers, features=features, evaluation_from=300))
    assert model.format == "pickle"
    assert model.sha256 == sha256(model.artifact_path)
    assert len(predicted(model.training_predictions)) == 300
    evaluated = predicted(model.evaluation_predictions)
    assert len(evaluated) == 100
    platform.load(model)
    rows = rows_of(customers, 300, 400, features)
    assert platform.predict(rows) == evaluated.tolist()
    alone = rows_of(customers, 300, 301, list(reversed(features)))
    assert platform.predict(alone) == pytest.approx([evaluated[0]], rel=1e-12)


def test_predictions_of_a_classifier_are_those_of_the_positive_class(
    platform: Platform, customers: Path
) -> None:
    model = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    labels = read(str(customers), NUMERIC, "label", 300).evaluation.y
    evaluated = predicted(model.evaluation_predictions)
    assert evaluated[labels == 1].mean() > 0.7
    assert evaluated[labels == 0].mean() < 0.3


def test_options_metrics_logs_and_libraries_come_through(
    platform: Platform, customers: Path
) -> None:
    options = json.dumps({"C": 0.5, "random_seed": 3})
    model = trained(
        platform.train(
            LOGISTIC, customers, features=NUMERIC, evaluation_from=300, options_json=options
        )
    )
    assert 0.8 < model.metrics["accuracy"] <= 1
    assert "fitted on 300 rows" in platform.lines("context")
    assert {"numpy", "scikit-learn", "pandas"} <= set(model.libraries)
    with zipfile.ZipFile(model.artifact_path) as archive:
        meta = json.loads(archive.read("meta.json"))
        assert meta["scoring"]["features"] == NUMERIC
        assert meta["scoring"]["input"] == "array"
        assert "LogisticRegression" in archive.read("code/train.py").decode()


def test_the_same_training_gives_the_same_artifact(platform: Platform, customers: Path) -> None:
    first = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    second = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    assert first.sha256 == second.sha256


def test_a_user_never_sees_the_evaluation_slice(platform: Platform, customers: Path) -> None:
    source = LOGISTIC.replace(
        "model.fit", "assert dataset.evaluation.rows == 0 and len(dataset.to_pandas()) == 250; "
        "model.fit",
    )  # fmt: skip
    trained(platform.train(source, customers, features=NUMERIC, evaluation_from=250))


def test_users_classes_are_loaded_from_the_artifact_by_a_worker_without_their_folder(
    platform: Platform, customers: Path, tmp_path: Path
) -> None:
    task_id = platform.post_train(
        "import sys; sys.path.insert(0, '.')\n" + PLAIN,
        customers,
        features=["orders"],
        evaluation_from=300,
    )
    # The helper does not exist yet: the import fails and says what is missing.
    missing = platform.answer(task_id)
    assert isinstance(missing, pb.Fault)
    assert missing.kind == pb.Fault.LIBRARY_MISSING
    assert "'rates'" in missing.message

    def train_with(rate: int) -> pb.Trained:
        project = tmp_path / f"project-rate-{rate}"
        project.mkdir()
        (project / "rates.py").write_text(f"RATE = {rate}\n")
        (project / "train.py").write_text(PLAIN)
        task = pb.Train(
            run_path="train.py",
            function="train.py:train",
            working_directory=str(project),
            dataset_path=str(customers),
            features=["orders"],
            label="label",
            output_directory=str(tmp_path / f"out-{rate}"),
            evaluation_from=300,
        )
        model = trained(platform.answer(platform.post(train=task)))
        for file in project.iterdir():
            file.unlink()
        project.rmdir()
        return model

    two, three = train_with(2), train_with(3)
    platform.load(two, version=2)
    platform.load(three, version=3)
    rows = table({"orders": np.array([5, 7])})
    # Both have a train.py and a rates.py; each model keeps its own, also for late imports.
    for _ in range(2):
        assert platform.predict(rows, version=2) == [10, 14]
        assert platform.predict(rows, version=3) == [15, 21]


def test_nulls_reach_the_model_as_nan(platform: Platform, customers: Path) -> None:
    model = trained(platform.train(CLASSIFIER, customers, features=NUMERIC, evaluation_from=300))
    platform.load(model)
    several = table({"orders": np.array([np.nan, 3.0]), "spent": np.array([20.0, np.nan])})
    alone = table({"orders": np.array([np.nan]), "spent": np.array([20.0])})
    assert platform.predict(alone)[0] == platform.predict(several)[0]


def test_an_artifact_with_another_digest_is_not_opened(platform: Platform, customers: Path) -> None:
    model = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    with Path(model.artifact_path).open("ab") as file:
        file.write(b"!")
    fault = platform.fault(
        load_model=pb.LoadModel(
            model="churn",
            version=1,
            artifact_path=model.artifact_path,
            sha256=model.sha256,
            format=model.format,
        )
    )
    assert fault.kind == pb.Fault.INTERNAL
    assert "was not opened" in fault.message


def test_a_file_that_is_no_artifact_is_refused(platform: Platform, tmp_path: Path) -> None:
    other = tmp_path / "other.martlet"
    other.write_bytes(b"not a zip archive")
    task = pb.LoadModel(artifact_path=str(other), sha256=sha256(other), format="pickle")
    fault = platform.fault(load_model=task)
    assert fault.kind == pb.Fault.INTERNAL
    assert "not a Martlet artifact" in fault.message


def aged(model: pb.Trained, library: str, version: str) -> pb.Trained:
    """The same artifact as if it had been trained with another version of a library."""
    other = Path(model.artifact_path).with_name(f"{library}-{version}.martlet")
    with zipfile.ZipFile(model.artifact_path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "meta.json":
                meta = json.loads(data)
                meta["libraries"][library] = version
                data = json.dumps(meta).encode()
            new.writestr(name, data)
    changed = pb.Trained()
    changed.CopyFrom(model)
    changed.artifact_path, changed.sha256 = str(other), sha256(other)
    return changed


def test_other_library_versions_are_warned_about(platform: Platform, customers: Path) -> None:
    model = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    platform.load(aged(model, "scikit-learn", "0.24.2"))
    (warning,) = platform.lines("martlet_worker")
    assert "scikit-learn 0.24.2 is" in warning


@pytest.mark.parametrize(
    ("recorded", "policy", "is_opened"),
    [
        ("{0}.{1}.{2}", "exact", True),
        ("{0}.{1}.999", "exact", False),
        ("{0}.{1}.999", "minor", True),
        ("{0}.999.{2}", "minor", False),
        ("0.{1}.{2}", "minor", False),
        ("0.{1}.{2}", "off", True),
    ],
)
def test_library_versions_are_compared_before_anything_is_unpickled(
    platform: Platform, customers: Path, recorded: str, policy: str, is_opened: bool
) -> None:
    model = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    here = model.libraries["numpy"]
    version = recorded.format(*here.split("."))
    other = aged(model, "numpy", version)
    task = pb.LoadModel(
        model="churn",
        version=1,
        artifact_path=other.artifact_path,
        sha256=other.sha256,
        format=other.format,
        library_versions=policy,
    )
    if is_opened:
        platform.ask(load_model=task)
        return
    fault = platform.fault(load_model=task)
    assert fault.kind == pb.Fault.LIBRARY_MISSING
    assert f"numpy {version} is {here} here" in fault.message
    assert "was not opened" in fault.message


def test_a_missing_library_is_told_before_the_pickle_is_opened(
    platform: Platform, customers: Path
) -> None:
    model = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    other = aged(model, "catboost", "1.2.3")
    fault = platform.fault(
        load_model=pb.LoadModel(
            artifact_path=other.artifact_path,
            sha256=other.sha256,
            format=other.format,
            library_versions="minor",
        )
    )
    assert fault.kind == pb.Fault.LIBRARY_MISSING
    assert "catboost 1.2.3 is not installed here" in fault.message


def test_a_model_that_is_not_loaded_or_was_unloaded_says_so(
    platform: Platform, customers: Path
) -> None:
    task = pb.Predict(model="churn", version=1, rows=table({"orders": np.array([1])}))
    assert platform.fault(predict=task).kind == pb.Fault.NOT_LOADED
    model = trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    platform.load(model)
    platform.ask(unload=pb.Unload(model="churn", version=1))
    assert platform.fault(predict=task).kind == pb.Fault.NOT_LOADED


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (table({"orders": np.array([1])}), "no column spent"),
        (table({"orders": np.array([1]), "spent": ["a lot"]}), "'spent' came as STRING"),
        (table({"orders": np.array([1, 2]), "spent": ["a", "b"]}), "'spent' came as STRING"),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(
    platform: Platform, customers: Path, rows: pb.Columns, said: str
) -> None:
    platform.load(
        trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))
    )
    fault = platform.fault(predict=pb.Predict(model="churn", version=1, rows=rows))
    assert fault.kind == pb.Fault.INTERNAL
    assert said in fault.message
    assert len(platform.predict(table({"orders": np.array([1]), "spent": np.array([2.0])}))) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("np.zeros(len(columns['orders']) + 1)", "shape (301,); expected (300,)"),
        ("np.zeros((len(columns['orders']), 3))", "shape (300, 3); expected (300,)"),
        ("['yes'] * len(columns['orders'])", "expected numbers"),
        ("None", "shape (); expected (300,)"),
    ],
)
def test_a_model_that_answers_another_shape_is_bad_output(
    platform: Platform, customers: Path, answer: str, said: str
) -> None:
    source = f"""
import numpy as np

class Odd:
    def predict(self, columns):
        return {answer}

def train(dataset, context):
    return Odd()
"""
    fault = platform.train(source, customers, features=NUMERIC, evaluation_from=400)
    assert isinstance(fault, pb.Result | pb.Fault)
    fault = platform.train(source, customers, features=NUMERIC, evaluation_from=300)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == pb.Fault.BAD_OUTPUT
    assert said.replace("300", "100").replace("301", "101") in fault.message


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("return None", pb.Fault.BAD_OUTPUT, "returned None"),
        ("return 3", pb.Fault.BAD_OUTPUT, "returned a int without"),
        ("raise ValueError('no rows\\nat all')", pb.Fault.USER_ERROR, "train.py:3 (train) raised"),
        ("import sys; sys.exit(1)", pb.Fault.USER_ERROR, "called sys.exit(1)"),
        ("import xgboooost", pb.Fault.LIBRARY_MISSING, "needs the module 'xgboooost'"),
        ("context.metrics['a'] = 'b'", pb.Fault.BAD_OUTPUT, "context.metrics['a'] is a str"),
        ("return dataset.numpy('absent')", pb.Fault.USER_ERROR, "no column 'absent'"),
        ("class M: predict = lambda s, X: X\n    return M()", pb.Fault.BAD_OUTPUT, "top level"),
        ("return (", pb.Fault.USER_ERROR, "SyntaxError"),
    ],
)
def test_a_training_that_goes_wrong_says_where_and_the_worker_lives_on(
    platform: Platform, customers: Path, body: str, kind: pb.Fault.Kind, said: str
) -> None:
    source = f"import numpy\ndef train(dataset, context):\n    {body}\n"
    fault = platform.train(source, customers, features=NUMERIC, evaluation_from=300)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == kind
    assert said in fault.message
    trained(platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300))


def test_a_fault_carries_the_users_traceback_and_its_last_line(
    platform: Platform, customers: Path
) -> None:
    source = "def deep():\n    return 1 / 0\n\ndef train(dataset, context):\n    deep()\n"
    fault = platform.train(source, customers, features=NUMERIC, evaluation_from=300)
    assert isinstance(fault, pb.Fault)
    assert fault.traceback_last_line == "ZeroDivisionError: division by zero"
    assert "return 1 / 0" in fault.traceback
    assert "martlet_worker" not in fault.traceback


def test_a_fault_while_serving_shows_the_users_line(platform: Platform, customers: Path) -> None:
    source = """
class Fussy:
    def predict(self, columns):
        if columns["orders"][0] < 0:
            raise ValueError("negative orders")
        return columns["orders"]

def train(dataset, context):
    return Fussy()
"""
    model = trained(platform.train(source, customers, features=["orders"], evaluation_from=300))
    platform.load(model)
    rows = table({"orders": np.array([-1])})
    fault = platform.fault(predict=pb.Predict(model="churn", version=1, rows=rows))
    assert fault.kind == pb.Fault.USER_ERROR
    assert "churn-1/train.py:5 (predict)" in fault.message
    assert 'raise ValueError("negative orders")' in fault.traceback


def test_a_user_that_exits_the_process_closes_the_connection(
    platform: Platform, customers: Path
) -> None:
    source = "import os\n\ndef train(dataset, context):\n    os._exit(9)\n"
    platform.post_train(source, customers, features=NUMERIC, evaluation_from=300)
    frame = platform.receive()
    while frame is not None:
        assert frame.WhichOneof("kind") in ("heartbeat", "log")
        frame = platform.receive()
    assert platform.wait_for_exit() == 9


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-1], "is cut"),
        (lambda data: data[:2], "in the middle of a length"),
        (lambda data: b"", "has no columns"),
    ],
)
def test_a_damaged_dataset_is_refused(
    platform: Platform, customers: Path, damage: object, said: str
) -> None:
    customers.write_bytes(damage(customers.read_bytes()))  # type: ignore[operator]
    fault = platform.train(LOGISTIC, customers, features=NUMERIC, evaluation_from=300)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == pb.Fault.INTERNAL
    assert said in fault.message


def test_a_failed_training_leaves_nothing_behind(
    platform: Platform, customers: Path, tmp_path: Path
) -> None:
    source = """
def train(dataset, context):
    (context.workdir / "big").write_text("x")
    raise RuntimeError("no")
"""
    platform.train(source, customers, features=NUMERIC, evaluation_from=300)
    assert [list(out.iterdir()) for out in tmp_path.glob("project-*/out")] == [[]]
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_dataset_gives_columns_frames_and_slices(customers: Path) -> None:
    data = read(str(customers), ALL, "label", 300)
    assert data.columns == ["event_timestamp", "orders", "spent", "city", "label"]
    assert (data.rows, data.train.rows, data.evaluation.rows) == (400, 300, 100)
    assert data.y.dtype == np.float64
    assert data.event_timestamps.dtype == np.dtype("<M8[us]")
    assert data.train.event_timestamps.max() < data.evaluation.event_timestamps.min()
    frame = data.train.X
    assert list(frame.columns) == ALL
    assert frame["city"].dtype == "category"
    assert frame["orders"].dtype == np.int64
    assert data.evaluation.to_pandas().shape == (100, 5)


def test_nulls_in_one_chunk_change_the_dtype_of_both_slices(tmp_path: Path) -> None:
    path = write_dataset(
        tmp_path / "nulls.columns",
        {"n": [1, 2, 3, None], "flag": [True, None, False, True], "label": [0, 1, 0, 1]},
        chunk_rows=2,
    )
    data = read(str(path), ["n", "flag"], "label", 2)
    assert data.train.numpy("n").dtype == np.float64
    assert data.train.X["flag"].isna().tolist() == [False, True]
    assert np.isnan(data.evaluation.numpy("n")[1])


def test_training_while_another_task_waits_keeps_the_order(
    platform: Platform, customers: Path, tmp_path: Path
) -> None:
    started, go = Fifo(tmp_path), Fifo(tmp_path)
    source = LOGISTIC.replace(
        "    model = ",
        f"    open({str(started.path)!r}, 'w').write('x'); open({str(go.path)!r}).read()\n"
        "    model = ",
    )
    training = platform.post_train(source, customers, features=NUMERIC, evaluation_from=300)
    started.wait()
    after = platform.post(unload=pb.Unload(model="churn", version=1))
    go.open()
    trained(platform.answer(training))
    assert isinstance(platform.answer(after), pb.Result)
