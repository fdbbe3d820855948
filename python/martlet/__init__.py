"""The Python client of a Martlet platform.

`Client` calls it, `AsyncClient` does so from an event loop; both have the same methods. Errors are
in `martlet.errors`, what calls answer in `martlet.answers`.
"""

from martlet.answers import (
    Dataset,
    DatasetVerdict,
    Feature,
    FeatureSet,
    Freshness,
    IngestReport,
    Job,
    Lineage,
    Model,
    ModelVersion,
    OnlineFeatures,
    Plan,
    Predictions,
    PushReceipt,
    QuarantinedRecord,
    Verification,
)
from martlet.async_client import AsyncClient
from martlet.client import Client
from martlet.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    InvalidDefinitionError,
    InvalidRecordError,
    JobFailedError,
    MartletError,
    MissingFeatureError,
    NotFoundError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)

__all__ = [
    "AsyncClient",
    "Client",
    "Dataset",
    "DatasetVerdict",
    "DeadlineExceededError",
    "Feature",
    "FeatureSet",
    "Freshness",
    "IngestReport",
    "InvalidArgumentError",
    "InvalidDefinitionError",
    "InvalidRecordError",
    "Job",
    "JobFailedError",
    "Lineage",
    "MartletError",
    "MissingFeatureError",
    "Model",
    "ModelVersion",
    "NotFoundError",
    "OnlineFeatures",
    "OverloadedError",
    "Plan",
    "Predictions",
    "PushReceipt",
    "QuarantinedRecord",
    "UnauthenticatedError",
    "UnavailableError",
    "Verification",
]
