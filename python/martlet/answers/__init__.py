"""What the calls answer, by subject."""

from martlet.answers.base import Answer
from martlet.answers.datasets import Dataset, DatasetVerdict
from martlet.answers.definitions import Applied, Breakage, Change, Definitions, FieldChange, Plan
from martlet.answers.events import (
    ErasureReceipt,
    ErasureShare,
    IngestReport,
    PushReceipt,
    QuarantinedRecord,
    Reason,
    ReplayFailure,
    ReplayReport,
)
from martlet.answers.features import Feature, FeatureSet, Freshness, OnlineFeatures, OnlineRow
from martlet.answers.lineage import Lineage, LineageEdge, LineageNode
from martlet.answers.models import (
    DriftReport,
    FeatureDrift,
    Job,
    Model,
    ModelVersion,
    Prediction,
    Predictions,
)
from martlet.answers.verification import FeatureVerification, Verification

__all__ = [
    "Answer",
    "Applied",
    "Breakage",
    "Change",
    "Dataset",
    "DatasetVerdict",
    "Definitions",
    "DriftReport",
    "ErasureReceipt",
    "ErasureShare",
    "Feature",
    "FeatureDrift",
    "FeatureSet",
    "FeatureVerification",
    "FieldChange",
    "Freshness",
    "IngestReport",
    "Job",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "Model",
    "ModelVersion",
    "OnlineFeatures",
    "OnlineRow",
    "Plan",
    "Prediction",
    "Predictions",
    "PushReceipt",
    "QuarantinedRecord",
    "Reason",
    "ReplayFailure",
    "ReplayReport",
    "Verification",
]
