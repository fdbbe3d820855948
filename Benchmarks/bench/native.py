"""Predictions by native engines: the same rows in a request, and what the library says to them."""

import json
import time
from collections.abc import Iterator

import numpy

from bench.online import rest_rows
from bench.plan import Plan
from bench.report import Row, say

COLUMNS = 20
TREES = 100
ROWS = 20_000
NAMES = [f"x{number}" for number in range(COLUMNS)]
PATH = "/api/v1/models/score/predict"

DEFINITIONS = f"""\
project: bench
entities:
  everything: {{key: []}}
sources:
  rows:
    event_time: ts
    columns: {{label: double, {", ".join(f"{name}: double" for name in NAMES)}}}
models:
  score:
    features: [{", ".join(NAMES)}]
    inputs: {{{", ".join(f"{name}: double" for name in NAMES)}}}
    spine: {{source: rows, time: ts}}
    label: {{source: rows, value: label > 0, delay: 0s}}
    train: {{run: train.py:train, metric: roc_auc}}
"""

# The predictions of the library itself for some rows go into the metrics of the version.
TRAIN = f"""\
from lightgbm import LGBMClassifier

def train(dataset, context):
    rows = dataset.matrix()
    model = LGBMClassifier(n_estimators={TREES}, num_leaves=31, verbose=-1).fit(rows, dataset.y)
    for place, value in enumerate(model.predict_proba(rows[:50])[:, 1]):
        context.metrics[f"row_{{place}}"] = float(value)
    return model
"""


def native(plan: Plan) -> Iterator[Row]:
    folder = plan.folder("native")
    random = numpy.random.default_rng(20261121)
    values = random.normal(size=(ROWS, COLUMNS)).round(6)
    label = values[:, :6].sum(axis=1) + random.normal(size=ROWS)
    file = folder / "rows.jsonl"
    with file.open("w") as lines:
        for place, row in enumerate(values.tolist()):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_750_000_000 + place))
            cells = dict(zip(NAMES, row, strict=True))
            lines.write(json.dumps({"ts": at, "label": label[place], **cells}) + "\n")
    server = plan.server(folder, DEFINITIONS)
    (server.project_folder / "train.py").write_text(TRAIN)
    with server:
        server.apply()
        server.upload("rows", file)
        say("training")
        server.command("train", "score", "--json")
        server.command("models", "promote", "score", "1", "--json")
        version = json.loads(server.command("models", "show", "score", "1", "--json"))
        wrong = checked(server, version, values)
        row = dict(zip(NAMES, values[0].tolist(), strict=True))
        body = json.dumps({"rows": [row]})
        for found in rest_rows(
            plan,
            server,
            "predict_native",
            PATH,
            body,
            1,
            f"LightGBM, {TREES} trees, {COLUMNS} inputs in the request, batch 1",
            wrong,
            20_000,
            0.22,
        ):
            found.details["engine"] = version["engine"]
            yield found


def checked(server, version: dict, values: numpy.ndarray) -> str:
    """What is wrong with the engine or with the answers to the first rows; empty where nothing is."""
    if version["engine"]["kind"] != "lightgbm":
        return f"the version is served by {version['engine']}"
    rows = [dict(zip(NAMES, row, strict=True)) for row in values[:50].tolist()]
    answer = server.post(PATH, {"rows": rows})
    found = [prediction["value"] for prediction in answer["predictions"]]
    expected = [version["metrics"][f"row_{place}"] for place in range(50)]
    return "" if found == expected else f"answers {found[:3]}, LightGBM {expected[:3]}"
