"""Served values against the warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from martlet.answers.base import TUPLE, Answer, many


@dataclass(frozen=True)
class FeatureVerification(Answer):
    """How often a feature was compared, and how often it differed for which cause."""

    feature: str
    compared: int
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification(Answer):
    """Served values against what the warehouse says they should have been.

    `passed`: at most the share `threshold` of the compared values differs. `in_flight` and
    `past_retention` explain differences that are no mismatches. `of_former_definitions` are logged
    vectors that were not compared since their features have changed.
    """

    passed: bool
    vectors: int
    compared: int
    mismatches: int
    mismatch_share: float
    in_flight: int = 0
    past_retention: int = 0
    threshold: float = 0.0
    of_former_definitions: int = 0
    features: tuple[FeatureVerification, ...] = field(
        metadata=many(FeatureVerification), default=()
    )
    examples: tuple[Mapping[str, Any], ...] = field(metadata=TUPLE, default=())
