"""The native form that a training writes beside the artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from platform_side import Platform
from test_models import ALL, BOOSTER, CLASSIFIER, LOGISTIC, NUMERIC, PIPELINE, trained

SCALED = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

def train(dataset, context):
    steps = StandardScaler(), MinMaxScaler(clip=True), LogisticRegression()
    return make_pipeline(*steps).fit(dataset.X, dataset.y)
"""

XGBOOST = """
from xgboost import XGBClassifier

def train(dataset, context):
    return XGBClassifier(n_estimators=5).fit(dataset.X, dataset.y)
"""


def exported(
    platform: Platform, source: str, customers: Path, features: list[str]
) -> tuple[dict[str, Any], bytes]:
    """The first line of the native file, and what follows it."""
    answer = platform.train(source, customers, features=features, evaluation_from=300)
    file = Path(trained(answer).artifact_path).parent / "model.native"
    line, _, rest = file.read_bytes().partition(b"\n")
    return json.loads(line), rest


@pytest.mark.parametrize(
    ("source", "features", "kind"),
    [
        pytest.param(BOOSTER, NUMERIC, "lightgbm", id="LightGBM Booster"),
        pytest.param(CLASSIFIER, NUMERIC, "lightgbm", id="LGBMClassifier"),
        pytest.param(XGBOOST, NUMERIC, "xgboost", id="XGBClassifier"),
        pytest.param(LOGISTIC, NUMERIC, "linear", id="LogisticRegression"),
        pytest.param(SCALED, NUMERIC, "linear", id="scalers"),
    ],
)
def test_a_known_model_is_written_in_its_own_form(
    platform: Platform, customers: Path, source: str, features: list[str], kind: str
) -> None:
    header, payload = exported(platform, source, customers, features)
    assert header["kind"] == kind, header
    assert header["features"] == features
    assert header["library"]
    assert bool(payload) == (kind != "linear")


def test_the_texts_of_a_booster_come_in_the_order_of_their_numbers(
    platform: Platform, customers: Path
) -> None:
    header, _ = exported(platform, BOOSTER, customers, ALL)
    assert header["categories"] == {"city": ["Oslo", "Zürich", "東京"]}


def test_scalers_come_in_their_order(platform: Platform, customers: Path) -> None:
    header, _ = exported(platform, SCALED, customers, NUMERIC)
    assert [step["scaler"] for step in header["steps"]] == ["standard", "min_max"]
    assert header["steps"][1]["clip"] == [0, 1]
    assert header["link"] == "logistic"


@pytest.mark.parametrize(
    ("source", "features", "why"),
    [
        pytest.param(PIPELINE, ALL, "is a sklearn.ColumnTransformer", id="unknown step"),
        pytest.param(XGBOOST, ALL, "is a text", id="XGBoost with a text"),
        pytest.param(
            LOGISTIC.replace("return model", "model.coef_[:] = float('nan'); return model"),
            NUMERIC,
            "its coefficients are not all finite",
            id="not finite",
        ),
    ],
)
def test_a_model_without_such_a_form_says_why(
    platform: Platform, customers: Path, source: str, features: list[str], why: str
) -> None:
    source = source.replace("XGBClassifier(", "XGBClassifier(enable_categorical=True, ")
    header, payload = exported(platform, source, customers, features)
    assert header["kind"] == "none"
    assert why in header["why"]
    assert payload == b""
