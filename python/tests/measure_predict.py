"""`python tests/measure_predict.py`: single-row predictions through the socket, in microseconds."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from platform_side import LENGTH, Platform, table, write_dataset

from martlet_worker import worker_pb2 as pb

FEATURES = [f"f{index}" for index in range(10)]
ROUNDS = 3_000

MODELS = {
    "plain object": """
class Plain:
    def predict(self, columns):
        return columns["f0"]

def train(dataset, context):
    return Plain()
""",
    "LogisticRegression": """
from sklearn.linear_model import LogisticRegression

def train(dataset, context):
    return LogisticRegression(max_iter=500).fit(dataset.X, dataset.y)
""",
    "LightGBM Booster, 100 trees": """
import lightgbm

def train(dataset, context):
    data = lightgbm.Dataset(dataset.X, dataset.y)
    return lightgbm.train({"objective": "binary", "verbose": -1}, data, num_boost_round=100)
""",
    "LGBMClassifier, 100 trees": """
from lightgbm import LGBMClassifier

def train(dataset, context):
    return LGBMClassifier(n_estimators=100, verbose=-1).fit(dataset.X, dataset.y)
""",
}


def measure(platform: Platform, frame: pb.Frame) -> tuple[list[float], list[float]]:
    payload = frame.SerializeToString()
    data = LENGTH.pack(len(payload)) + payload
    whole, inside = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        platform.send_bytes(data)
        answer = platform.receive()
        whole.append((time.perf_counter() - start) * 1e6)
        if answer is not None and answer.WhichOneof("kind") == "result":
            inside.append(answer.result.compute_us)
    return whole, inside


def report(name: str, whole: list[float], inside: list[float]) -> None:
    cuts = statistics.quantiles(whole, n=100)
    within = statistics.median(inside) if inside else 0
    sys.stdout.write(
        f"{name:<30} p50 {cuts[49]:7.0f}  p99 {cuts[98]:7.0f}  of which in the task {within:5.0f}\n"
    )


def main() -> None:
    random = np.random.default_rng(1)
    columns = {name: random.normal(size=5_000) for name in FEATURES}
    columns["label"] = (columns["f0"] + columns["f1"] > 0).astype(np.int64)
    row = table({name: columns[name][:1] for name in FEATURES})
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "set.columns", columns)
        platform = Platform(Path(folder))
        try:
            platform.hello()
            platform.welcome(heartbeat_ms=600_000)
            platform.ask(unload=pb.Unload())
            empty = pb.Frame(task=pb.Task(id="x", unload=pb.Unload()))
            report("nothing (the conversation)", *measure(platform, empty))
            for version, (name, source) in enumerate(MODELS.items(), 1):
                answer = platform.train(source, dataset, features=FEATURES, evaluation_from=4_000)
                assert isinstance(answer, pb.Result), answer
                platform.load(answer.trained, version=version)
                predict = pb.Predict(model="churn", version=version, rows=row)
                frame = pb.Frame(task=pb.Task(id="x", predict=predict))
                report(name, *measure(platform, frame))
        finally:
            platform.close()


if __name__ == "__main__":
    main()
