"""Which libraries this environment has, by distribution name, without importing them."""

from __future__ import annotations

import importlib.metadata
import sys

# Distribution to import name: what decides whether a pickled model can be read again.
OF_NOTE = {
    "catboost": "catboost",
    "joblib": "joblib",
    "lightgbm": "lightgbm",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "polars": "polars",
    "protobuf": "google.protobuf",
    "pyarrow": "pyarrow",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "statsmodels": "statsmodels",
    "torch": "torch",
    "xgboost": "xgboost",
    "xgboost-cpu": "xgboost",
}


def installed() -> dict[str, str]:
    """Every library of note that could be imported here."""
    return {name: version for name in OF_NOTE if (version := version_of(name)) is not None}


def in_use() -> dict[str, str]:
    """The libraries of note that have been imported: what a model trained now may depend on."""
    used = [name for name, module in OF_NOTE.items() if module in sys.modules]
    return {name: version for name in used if (version := version_of(name)) is not None}


def differences(recorded: dict[str, str]) -> list[str]:
    """One phrase for each recorded library that is here in another version or not at all."""
    out = []
    for name, version in sorted(recorded.items()):
        here = version_of(name)
        if here is None:
            out.append(f"{name} {version} is not installed here")
        elif here != version:
            out.append(f"{name} {version} is {here} here")
    return out


EXACT = "exact"
MINOR = "minor"


def clashes(recorded: dict[str, str], policy: str) -> list[str]:
    """One phrase for each library that is here in a version that the policy does not allow."""
    out = []
    for name, version in sorted(recorded.items()):
        here = version_of(name)
        if policy in (EXACT, MINOR) and here is None:
            out.append(f"{name} {version} is not installed here")
        elif here is not None and differs(version, here, policy):
            out.append(f"{name} {version} is {here} here")
    return out


def differs(version: str, here: str, policy: str) -> bool:
    """Whether two versions differ by more than a policy allows."""
    if policy == EXACT:
        return version != here
    return policy == MINOR and version.split(".")[:2] != here.split(".")[:2]


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, if it is installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
