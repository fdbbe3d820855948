"""The shorter ways to ask for one row give the model's own bits, or step aside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from martlet_worker.quick import shortcut

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(500, 4))
BINARY = (X[:, 0] + RANDOM.normal(size=500) > 0).astype(np.float64)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (LogisticRegression(), "predict_proba"),
        (LinearRegression(), "predict"),
        (Ridge(), "predict"),
        (LGBMClassifier(n_estimators=10, verbose=-1), "predict_proba"),
        (LGBMRegressor(n_estimators=10, verbose=-1), "predict"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_known_models_are_asked_the_short_way_with_the_same_bits(model: Any, method: str) -> None:
    model.fit(X, BINARY)
    ask = shortcut(model, method, 4)
    assert ask is not None
    for row in X[:50]:
        own = np.asarray(getattr(model, method)(row[None, :])).flat[-1]
        assert ask(row[None, :]) == own


def test_a_linear_model_still_refuses_nan_itself() -> None:
    ask = shortcut(LogisticRegression().fit(X, BINARY), "predict_proba", 4)
    assert ask is not None
    assert ask(np.array([[1.0, np.nan, 0.0, 0.0]])) is None


def test_more_than_two_classes_and_unknown_models_are_asked_themselves() -> None:
    three = RANDOM.integers(0, 3, 500)
    assert shortcut(LogisticRegression().fit(X, three), "predict_proba", 4) is None
    assert shortcut(object(), "predict", 4) is None


def test_a_model_whose_answers_differ_is_asked_itself() -> None:
    class Shifted(LinearRegression):
        def predict(self, X: Any) -> Any:
            return super().predict(X) + 1e-12

    Shifted.__module__ = "sklearn.linear_model"
    Shifted.__name__ = "LinearRegression"
    assert shortcut(Shifted().fit(X, BINARY), "predict", 4) is None
