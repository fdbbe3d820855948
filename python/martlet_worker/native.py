"""A model in a form that the platform scores without Python, beside the pickle.

One file: a line of JSON that says what the model is and what it takes, then the model itself in its
library's own format (nothing for linear models, whose numbers are in the line). A model that has no
such form gets a file all the same, which says why; whether the form answers as the library does is
for the platform to find out, which compares them before it serves any of it.

Only the exact classes below are known. A subclass may answer in any way it likes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from martlet_worker import columns as wire
from martlet_worker import libraries
from martlet_worker.faults import internal, last_line
from martlet_worker.scoring import COLUMNS, Scoring

FILE_NAME = "model.native"
SCHEMA = 1

Header = dict[str, Any]


class Refused(Exception):
    """This model has no native form; the message says why, for people."""


def store(model: Any, scoring: Scoring, directory: Path) -> Path:
    """Writes the native form, or why there is none."""
    try:
        header, payload = exported(model, scoring)
    except Refused as reason:
        header, payload = {"kind": "none", "why": str(reason)}, b""
    except Exception as error:
        # Another version of the library, with other insides.
        why = f"the {kind_of(model)} cannot be exported: {last_line(error)}"
        header, payload = {"kind": "none", "why": why}, b""
    header |= {"schema": SCHEMA, "class": kind_of(model)}
    path = directory / FILE_NAME
    try:
        path.write_bytes(json.dumps(header, allow_nan=False).encode() + b"\n" + payload)
    except OSError as error:
        raise internal(f"{path} cannot be written: {error.strerror}") from error
    return path


def exported(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
    """The line and the bytes behind it; raises Refused."""
    kind = kind_of(model)
    export = KNOWN.get(f"{kind}.{scoring.method}")
    if export is None or scoring.input == COLUMNS:
        raise Refused(f"{kind}.{scoring.method} is none of the models with a native form")
    for name, column_type in zip(scoring.features, scoring.types, strict=True):
        if column_type not in wire.NUMERIC and column_type != wire.STRING:
            raise Refused(f"feature {name!r} is of type {wire.type_name(column_type)}")
    header, payload = export(model, scoring)
    return {"features": list(scoring.features)} | header, payload


def kind_of(model: Any) -> str:
    """The library and the class: `sklearn.Ridge`."""
    return f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}"


def _texts(scoring: Scoring) -> list[str]:
    types = zip(scoring.features, scoring.types, strict=True)
    return [name for name, column_type in types if column_type == wire.STRING]


# LightGBM


def _booster(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
    if model.num_model_per_iteration() != 1:
        raise Refused("the booster has several outputs")
    if model.num_feature() != len(scoring.features):
        raise Refused(f"the booster takes {model.num_feature()} of {len(scoring.features)} columns")
    texts = _texts(scoring)
    known = model.pandas_categorical or []
    if texts and len(known) != len(texts):
        raise Refused(f"texts are features, but the booster knows categories of {len(known)}")
    categories = dict(zip(texts, known, strict=False))
    for name, values in categories.items():
        if not all(isinstance(value, str) for value in values):
            raise Refused(f"the categories of {name!r} are not all texts")
    # Without a number of iterations this is the best one's, as predict takes it.
    text = model.model_to_string()
    library = libraries.version_of("lightgbm")
    return {"kind": "lightgbm", "library": library, "categories": categories}, text.encode()


def _lightgbm(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
    if callable(model.objective_):
        raise Refused("its objective is a function of its own")
    return _booster(model.booster_, scoring)


# XGBoost


def _xgboost(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
    if callable(model.objective):
        raise Refused("its objective is a function of its own")
    if model.booster == "gblinear":
        raise Refused("its booster is gblinear, which has no trees")
    if model.missing is None or not math.isnan(model.missing):
        raise Refused(f"its value for missing is {model.missing!r}, not NaN")
    return _xgboost_form(model.get_booster(), model._get_iteration_range(None), scoring)


def _xgboost_booster(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
    # As the booster itself predicts: by all its iterations.
    return _xgboost_form(model.booster, (0, 0), scoring)


def _xgboost_form(
    booster: Any, iterations: tuple[int, int], scoring: Scoring
) -> tuple[Header, bytes]:
    if texts := _texts(scoring):
        # The library answers for a text that it never saw as for one that it did.
        raise Refused(f"feature {texts[0]!r} is a text, which XGBoost numbers anew in every table")
    header = {
        "kind": "xgboost",
        "library": libraries.version_of("xgboost") or libraries.version_of("xgboost-cpu"),
        "iterations": [int(bound) for bound in iterations],
    }
    return header, bytes(booster.save_raw("ubj"))


# scikit-learn


def _linear(link: str) -> Callable[[Any, Scoring], tuple[Header, bytes]]:
    def export(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
        return _linear_header([], model, link, scoring), b""

    return export


def _linear_header(steps: list[Header], model: Any, link: str, scoring: Scoring) -> Header:
    if texts := _texts(scoring):
        raise Refused(f"feature {texts[0]!r} is a text")
    if link == "logistic" and len(model.classes_) != 2:
        raise Refused(f"it has {len(model.classes_)} classes")
    width = len(scoring.features)
    return {
        "kind": "linear",
        "library": libraries.version_of("scikit-learn"),
        "steps": steps,
        "coefficients": _numbers(model.coef_, width, "coefficients"),
        "intercept": _numbers(model.intercept_, 1, "intercepts")[0],
        "link": link,
    }


def _numbers(values: Any, count: int, what: str) -> list[float]:
    array = np.ravel(np.asarray(values, np.float64))
    if len(array) != count:
        raise Refused(f"it has {len(array)} {what} for {count}")
    if not np.isfinite(array).all():
        raise Refused(f"its {what} are not all finite")
    return array.tolist()


def _standard(step: Any, width: int) -> Header:
    return {
        "scaler": "standard",
        "mean": _numbers(step.mean_, width, "means") if step.with_mean else None,
        "scale": _numbers(step.scale_, width, "scales") if step.with_std else None,
    }


def _min_max(step: Any, width: int) -> Header:
    return {
        "scaler": "min_max",
        "scale": _numbers(step.scale_, width, "scales"),
        "minimum": _numbers(step.min_, width, "minima"),
        "clip": _numbers(step.feature_range, 2, "bounds") if step.clip else None,
    }


def _pipeline(model: Any, scoring: Scoring) -> tuple[Header, bytes]:
    *scalers, (_, last) = model.steps
    link = LINEAR.get(f"{kind_of(last)}.{scoring.method}")
    if link is None:
        raise Refused(f"the last step of the pipeline is a {kind_of(last)}")
    steps = []
    for name, step in scalers:
        if step is None or step == "passthrough":
            continue
        scaler = SCALERS.get(kind_of(step))
        if scaler is None:
            raise Refused(f"the step {name!r} of the pipeline is a {kind_of(step)}")
        steps.append(scaler(step, len(scoring.features)))
    return _linear_header(steps, last, link, scoring), b""


SCALERS: dict[str, Callable[[Any, int], Header]] = {
    "sklearn.StandardScaler": _standard,
    "sklearn.MinMaxScaler": _min_max,
}

REGRESSIONS = (
    "ElasticNet",
    "ElasticNetCV",
    "Lasso",
    "LassoCV",
    "LinearRegression",
    "Ridge",
    "RidgeCV",
)
LINEAR: dict[str, str] = {f"sklearn.{name}.predict": "identity" for name in REGRESSIONS} | {
    "sklearn.LogisticRegression.predict_proba": "logistic",
    "sklearn.LogisticRegressionCV.predict_proba": "logistic",
}

KNOWN: dict[str, Callable[[Any, Scoring], tuple[Header, bytes]]] = {
    **{name: _linear(link) for name, link in LINEAR.items()},
    "lightgbm.Booster.predict": _booster,
    "lightgbm.LGBMClassifier.predict_proba": _lightgbm,
    "lightgbm.LGBMRegressor.predict": _lightgbm,
    "martlet_worker.XGBoostBooster.predict": _xgboost_booster,
    "sklearn.Pipeline.predict": _pipeline,
    "sklearn.Pipeline.predict_proba": _pipeline,
    "xgboost.XGBClassifier.predict_proba": _xgboost,
    "xgboost.XGBRFClassifier.predict_proba": _xgboost,
    "xgboost.XGBRFRegressor.predict": _xgboost,
    "xgboost.XGBRegressor.predict": _xgboost,
}
