"""When to ask again. Knows no transport: it is told what came of an attempt, and says how long to wait for the next.

Asked again are 429, 503 and a proxy's 502, no earlier than `Retry-After` says, and requests whose connection failed:
classifying changes nothing, and a server that is being replaced resets connections. Every other answer is final, as is
the server's own 503 of a bundle that failed, which says nothing of asking again. Waits
grow and are drawn at random ("full jitter": Brooker 2015, Exponential Backoff And Jitter, AWS Architecture Blog), as
otherwise all that were refused together would come back together.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from numbers import Real
from typing import NoReturn, TypeGuard

import httpx

from serving.client.errors import check_range
from serving.client.responses import may_pass, refusal, unreachable

Outcome = httpx.Response | httpx.RequestError

_WORTH_ANOTHER = (httpx.Response, httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)
_SHORTEST_TIMEOUT = 0.001  # seconds
_LONGEST_TIMEOUT = 2_147_483  # seconds: a socket counts milliseconds up to 2^31
_FIRST_WAIT = 0.25  # seconds, at most; doubled for each further attempt
_LONGEST_WAIT = 8.0  # seconds


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance."""

    now: Callable[[], float] = time.monotonic  # seconds
    date: Callable[[], float] = time.time  # seconds since 1970
    random: Callable[[], float] = random.random  # [0, 1)


SYSTEM_CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class Retries:
    """How often one request is sent, and for how long."""

    retries: int  # after the first attempt
    timeout: float  # seconds, of all attempts and waits together
    clock: Clock

    def __post_init__(self) -> None:
        check_range("retries", self.retries, 0)
        check_range("timeout", self.timeout, _SHORTEST_TIMEOUT, _LONGEST_TIMEOUT, kind=Real)

    def begin(self) -> "Attempts":
        return Attempts(self, self.clock.now())


@dataclass(slots=True)
class Attempts:
    """Those of one request: what each came to, and what is due next."""

    limits: Retries
    began: float
    wait: float = 0.0  # seconds before the next one
    _number: int = 0

    @property
    def timeout(self) -> float:
        """Seconds that one may take which begins now."""
        return max(self.limits.timeout - self._elapsed(), _SHORTEST_TIMEOUT)

    def end_with(self, outcome: Outcome) -> TypeGuard[httpx.Response]:
        """Whether this is the answer; else another attempt is due. Raises Unavailable when there were enough."""
        if isinstance(outcome, httpx.Response) and not may_pass(outcome):
            return True
        self._number += 1
        self.wait, elapsed = self._next_wait(outcome), self._elapsed()
        enough = self._number > self.limits.retries or elapsed + self.wait >= self.limits.timeout
        if enough or not isinstance(outcome, _WORTH_ANOTHER):
            raise_last(outcome, f" (asked {self._number} times in {elapsed:.1f} s)" if self._number > 1 else "")
        return False

    def _elapsed(self) -> float:
        return self.limits.clock.now() - self.began

    def _next_wait(self, outcome: Outcome) -> float:
        clock = self.limits.clock
        jitter = clock.random() * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._number - 1, 16))
        if isinstance(outcome, httpx.Response):
            return retry_after(outcome, clock.date()) + jitter
        return jitter


def raise_last(outcome: Outcome, tried: str) -> NoReturn:
    if isinstance(outcome, httpx.Response):
        raise refusal(outcome, tried=tried)
    raise unreachable(outcome, tried=tried) from outcome


def retry_after(response: httpx.Response, now: float) -> float:
    """Seconds that the server wants to be left alone; 0 where it does not say. `now` in seconds since 1970."""
    text: str = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    until = parse_date(text)
    # By the server's own clock where it shows it: this machine's may be wrong.
    sent = parse_date(response.headers.get("Date", "")) or now
    return max(0.0, until - sent) if until else 0.0


def parse_date(text: str) -> float | None:
    """An HTTP date in seconds since 1970."""
    try:
        moment: datetime = parsedate_to_datetime(text)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
