"""When a call is sent again, and after how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from martlet.errors import MartletError


class Failure(Enum):
    """How far a failed attempt came."""

    NEVER_SENT = "no connection"
    """Nothing of the request has left."""
    REFUSED = "overloaded"
    """The platform said no at the door (429)."""
    AWAY = "unavailable"
    """The platform or a part of it is away (503): something may have been done."""
    LOST = "connection lost"
    """The connection broke before the answer: everything may have been done."""
    FINAL = "final"
    """Another attempt would not help, or would make it worse."""


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts` in all; between them a random wait below a bound that doubles.

    The waits of many clients that were refused at once spread over the whole interval ("full
    jitter"), so that they do not come back at once. A time that the platform names is kept to,
    and the wait comes on top; one above `longest` is left to the caller.
    """

    attempts: int = 4
    base: float = 0.1
    cap: float = 5.0
    longest: float = 30.0

    def wait(
        self,
        attempt: int,
        failure: Failure,
        error: MartletError,
        *,
        repeatable: bool,
        uniform: Callable[[float, float], float],
    ) -> float | None:
        """Seconds until the attempt after number `attempt` (from 1), None to give up.

        A call that is not `repeatable`, since doing it twice is not like doing it once, is only
        sent again where the platform has certainly not done it.
        """
        certain = failure in (Failure.NEVER_SENT, Failure.REFUSED)
        possible = failure in (Failure.AWAY, Failure.LOST) and repeatable
        if attempt >= self.attempts or not (certain or possible):
            return None
        named = error.retry_after or 0.0
        if named > self.longest:
            return None
        return named + uniform(0.0, min(self.cap, self.base * 2.0 ** (attempt - 1)))
