"""Shorter ways to ask well-known models for one row.

scikit-learn checks its input at length on every call, which for one row costs ten times the answer.
Where a model's exact class is known, the answer is computed from its fitted parts instead, and only
after a comparison at load time has shown the very same bits as the model's own method. For
everything else, and for values the model itself refuses, the model's own method is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]
# The answer for a matrix of one row; None sends the caller to the model's own method.
Ask = Callable[[Row], float | None]

PROBES = 16


def shortcut(model: Any, method: str, width: int) -> Ask | None:
    """A quicker way to ask for one row, if there is one that gives the same bits."""
    name = f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}.{method}"
    build = KNOWN.get(name)
    if build is None:
        return None
    try:
        ask = build(model)
        if ask is not None and _agrees(ask, getattr(model, method), width):
            return ask
    except Exception:
        # Another version of the library with other insides: its own method will do.
        return None
    return None


def _agrees(ask: Ask, own: Callable[[Row], Any], width: int) -> bool:
    random = np.random.default_rng(0)
    for probe in range(PROBES):
        row = random.normal(scale=10.0 ** (probe % 5 - 1), size=(1, width))
        answer = np.asarray(own(row))
        if ask(row) != answer.flat[-1]:
            return False
    return True


def _booster(model: Any) -> Ask | None:
    predict = model.predict

    def ask(row: Row) -> float:
        # One row is not worth waking other threads.
        return float(predict(row, num_threads=1)[0])

    return ask


def _wrapped_booster(model: Any) -> Ask | None:
    if getattr(model, "n_classes_", 2) not in (2, None):
        return None
    return _booster(model.booster_)


def _linear(model: Any) -> Ask | None:
    weights = np.ascontiguousarray(model.coef_).reshape(-1, model.n_features_in_)
    if len(weights) != 1:
        return None
    column = weights.T
    intercept = float(np.ravel(model.intercept_)[0])

    def ask(row: Row) -> float | None:
        value = float((row @ column)[0, 0]) + intercept
        # The model itself refuses NaN and infinity, in its own words.
        return value if math.isfinite(value) else None

    return ask


def _logistic(model: Any) -> Ask | None:
    if len(model.classes_) != 2:
        return None
    linear = _linear(model)
    if linear is None:
        return None
    from scipy.special import expit  # scikit-learn brings it.

    def ask(row: Row) -> float | None:
        value = linear(row)
        return None if value is None else float(expit(value))

    return ask


KNOWN: dict[str, Callable[[Any], Ask | None]] = {
    "lightgbm.Booster.predict": _booster,
    "lightgbm.LGBMClassifier.predict_proba": _wrapped_booster,
    "lightgbm.LGBMRegressor.predict": _wrapped_booster,
    "sklearn.LinearRegression.predict": _linear,
    "sklearn.LogisticRegression.predict_proba": _logistic,
    "sklearn.Ridge.predict": _linear,
}
