"""What can go wrong: one exception class for each code of the platform's error table.

The table is `Sources/Core/Errors.swift`, printed in `docs/reference/errors.md`; a test holds this
module to both. Problems that the client itself finds use the same classes, so one `except` is
enough whoever noticed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from martlet.answers import Job, PushReceipt


class MartletError(Exception):
    """A call did not succeed; the text says what happened, where, and what to do next.

    `retryable` says that the same call may succeed later unchanged, `retry_after` in how many
    seconds where the platform named a time. `status` is the HTTP status, None where the platform
    did not answer. `receipt` is what of a push of several batches had been stored before.
    """

    code: ClassVar[str] = "internal"
    http: ClassVar[int] = 500
    help: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.status = status
        self.receipt: PushReceipt | None = None


class InvalidArgumentError(MartletError, ValueError):
    code = "invalid_argument"
    http = 400
    help = "The request is malformed; correct it as the message says."


class InvalidDefinitionError(MartletError):
    code = "invalid_definition"
    http = 422
    help = "martlet.yaml has errors; every one is listed with its place."


class InvalidConfigurationError(MartletError):
    code = "invalid_configuration"
    http = 500
    help = "Correct the configuration; `martlet config show` prints it."


class InvalidRecordError(MartletError):
    code = "invalid_record"
    http = 422
    help = "Records were refused; nothing of a strict file was stored."


class NotFoundError(MartletError, LookupError):
    code = "not_found"
    http = 404
    help = "The name is unknown; the message lists the nearest one."


class AlreadyExistsError(MartletError):
    code = "already_exists"
    http = 409
    help = "It exists already; choose another name."


class ConflictError(MartletError):
    code = "conflict"
    http = 409
    help = "Something changed meanwhile; read again and retry."


class FailedPreconditionError(MartletError):
    code = "failed_precondition"
    http = 412
    help = "Something must be done first; the message says what."


class MissingFeatureError(MartletError):
    code = "missing_feature"
    http = 422
    help = "A feature has no value and the model's policy is `error`."


class OverloadedError(MartletError):
    code = "overloaded"
    http = 429
    help = "The platform is at its limit; retry after the stated time."


class DeadlineExceededError(MartletError, TimeoutError):
    code = "deadline_exceeded"
    http = 504
    help = "It took longer than allowed; retry, or allow more time."


class CancelledError(MartletError):
    code = "cancelled"
    http = 499
    help = "The caller went away."


class UnavailableError(MartletError, ConnectionError):
    code = "unavailable"
    http = 503
    help = "A part of the platform is away; retry later."


class UserCodeError(MartletError):
    code = "user_code"
    http = 422
    help = "A Python function of the project failed; its traceback is in the log."


class StorageError(MartletError):
    code = "storage"
    http = 500
    help = "A store failed; nothing acknowledged is lost. See `martlet doctor`."


class InternalError(MartletError):
    code = "internal"
    http = 500
    help = "A defect of Martlet; please report it with the log."


class UnauthenticatedError(FailedPreconditionError):
    """The token is missing or wrong (HTTP 401)."""


class JobFailedError(UserCodeError):
    """A job that was waited for failed or was cancelled; `job` is its end."""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job

    def __reduce__(self) -> tuple[type[JobFailedError], tuple[str, Job]]:
        return JobFailedError, (self.message, self.job)


ERRORS: Mapping[str, type[MartletError]] = {
    error.code: error
    for error in (
        InvalidArgumentError,
        InvalidDefinitionError,
        InvalidConfigurationError,
        InvalidRecordError,
        NotFoundError,
        AlreadyExistsError,
        ConflictError,
        FailedPreconditionError,
        MissingFeatureError,
        OverloadedError,
        DeadlineExceededError,
        CancelledError,
        UnavailableError,
        UserCodeError,
        StorageError,
        InternalError,
    )
}
"""The class of each code."""


def error_of(
    body: Any, status: int | None, retry_after: str | None = None, text: str = ""
) -> MartletError:
    """The exception of an answer's `error` object; of an answer without one as good as can be."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return _unknown(status, text)
    kind = ERRORS.get(str(error.get("code")), InternalError)
    if status == 401:
        kind = UnauthenticatedError
    after = error.get("retry_after_seconds", retry_after)
    try:
        seconds = None if after is None else float(after)
    except ValueError:
        seconds = None
    message = str(error.get("message", ""))
    if kind is UnauthenticatedError:
        message = (
            "the platform wants a token and this one is missing or wrong; give "
            "Client(token=…) or set MARTLET_SERVER_TOKEN"
        )
    return kind(
        message,
        retryable=bool(error.get("retryable", False)),
        retry_after=seconds,
        status=status,
    )


def _unknown(status: int | None, text: str) -> MartletError:
    """An answer that is none of the platform's: something else listens there, or a proxy does."""
    kind: type[MartletError] = InternalError
    if status in (502, 503):
        kind = UnavailableError
    elif status == 504:
        kind = DeadlineExceededError
    elif status == 429:
        kind = OverloadedError
    excerpt = text.strip()[:300]
    return kind(
        f"the answer ({status}) is not one of a Martlet platform; check the address"
        + (f": {excerpt}" if excerpt else ""),
        retryable=kind is not InternalError,
        status=status,
    )
