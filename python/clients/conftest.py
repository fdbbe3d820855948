"""A platform with a model whose answers are known by heart, for clients that nobody here wrote."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from running_platform import CHECKOUT, RunningPlatform

PROJECT = """\
project: clients

entities:
  customer: {key: [customer_id]}

sources:
  visits:
    event_time: at
    columns: {customer_id: int64, amount: double}
  outcomes:
    event_time: known_at
    columns: {customer_id: int64, asked_at: timestamp, basket: double, spent: double}

views:
  visits:
    entity: customer
    source: visits
    features:
      count_30d: {count: "*", window: 30d}
      total_30d: {sum: amount, window: 30d}

models:
  spend:
    features: [visits.count_30d, visits.total_30d, basket]
    inputs: {basket: double}
    missing: {default: 0}
    spine: {source: outcomes, time: asked_at}
    label: {source: outcomes, value: spent, delay: 1h}
    train: {run: train.py:train, data: 60d, metric: rmse}
"""

TRAINING = """\
import numpy as np
from sklearn.linear_model import LinearRegression


def train(dataset, context):
    model = LinearRegression().fit(dataset.X.fillna(0), dataset.y)
    model.coef_ = np.array([1.0, 10.0, 100.0])
    model.intercept_ = 0.5
    return model
"""

FEATURES = ["visits.count_30d", "visits.total_30d", "basket"]


def expected(count: float, total: float, basket: float) -> float:
    """What the model answers."""
    return count + 10 * total + 100 * basket + 0.5


def call(address: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data=data)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def push(address: str, source: str, records: list[dict[str, Any]]) -> None:
    receipt = call(address, f"/api/v1/sources/{source}/events", records)
    assert receipt["accepted"] == len(records), receipt


def train(address: str) -> int:
    job = call(address, "/api/v1/models/spend/train", {})
    while job["finished_at"] is None:
        seen = urllib.parse.quote(job["progress"])
        job = call(address, f"/api/v1/jobs/{job['id']}?wait=true&seen={seen}")
    assert job["state"] == "COMPLETED", job
    return int(job["version"])


def wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if call(address, "/v2/models/spend/ready")["ready"]:
                return
        except urllib.error.HTTPError as error:
            assert error.code == 503, error.read()
        time.sleep(0.05)
    pytest.fail("the model was not loaded in a minute")


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """Customers 1 to 5 with so many visits of 2.5; of two versions of `spend` the first serves."""
    folder = tmp_path_factory.mktemp("clients") / "project"
    folder.mkdir()
    (folder / "martlet.yaml").write_text(PROJECT)
    (folder / "train.py").write_text(TRAINING)
    running = RunningPlatform(folder, {"MARTLET_PYTHON": str(CHECKOUT / ".venv/bin/python")})
    try:
        address = running.address
        applied = {"yaml": PROJECT, "directory": str(folder), "author": "tests"}
        call(address, "/api/v1/definitions/apply", applied)
        now = datetime.now(UTC)
        visits = [
            {"customer_id": customer, "amount": 2.5, "at": (now - timedelta(hours=3)).isoformat()}
            for customer in range(1, 6)
            for _ in range(customer)
        ]
        push(address, "visits", visits)
        outcomes = [
            {
                "customer_id": 1 + number % 5,
                "asked_at": (now - timedelta(days=2, minutes=number)).isoformat(),
                "known_at": (now - timedelta(days=1, minutes=number)).isoformat(),
                "basket": float(number % 7),
                "spent": float(number % 11),
            }
            for number in range(100)
        ]
        push(address, "outcomes", outcomes)
        assert [train(address), train(address)] == [1, 2]
        call(address, "/api/v1/models/spend/versions/1/promote", {"why": "tests"})
        wait_until_ready(address)
        yield running
    finally:
        status = running.stop()
    assert status == 0, running.log.read_text()
