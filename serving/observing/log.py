"""The log of requests: a line of JSON for each that was refused or slow, and for a share of the rest.

Writing a line costs more than answering some requests, so a server that is flooded would drown in its log. Refused and
slow requests get a line only while there are tokens for their kind; a line says how many before it went without.
"""

import json
import logging
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from random import random
from time import monotonic
from typing import Any

from serving.observing.background import Background
from serving.observing.flood import Bucket
from serving.observing.trace import Trace

_LONGEST_MESSAGE = 200  # characters; it repeats what the client sent
_LONGEST_CLIENT = 64
_STAGES = ("receive", "decode", "queue", "inference", "total")


class RequestLog:
    """Chooses the requests that get a line, and writes it."""

    def __init__(
        self, *, sample: float, slow: float, write: Callable[[str], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self._sample = sample  # share of the requests that are neither refused nor slow
        self._slow = slow  # seconds
        self._write = write
        self._buckets: dict[str, Bucket] = defaultdict(lambda: Bucket(clock))  # codes are few

    def ended(self, trace: Trace, client: str) -> None:
        """A request has ended; this is nearly always all that is done for it."""
        if trace.status >= 400:
            self._limited(trace, client, "refused", trace.code)
        elif trace.total >= self._slow:
            self._limited(trace, client, "slow", "slow")
        elif random() < self._sample:
            self._write(line(trace, client, "sample"))

    def _limited(self, trace: Trace, client: str, why: str, kind: str) -> None:
        suppressed = self._buckets[kind].take()
        if suppressed is not None:
            self._write(line(trace, client, why, suppressed))


def line(trace: Trace, client: str, why: str, suppressed: int = 0) -> str:
    """One line, at most 4 KB; nothing of the pictures, the query or the headers but the request's id."""
    fields: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": "request",
        "why": why,
        "request_id": trace.id.decode("ascii", "replace"),
        "route": trace.route,
        "status": trace.status,
        "client": client[:_LONGEST_CLIENT],
        "images": trace.images,
        "bytes": trace.size,
    }
    if trace.code:
        fields |= {"code": trace.code, "message": trace.message[:_LONGEST_MESSAGE]}
    for stage in _STAGES:
        seconds = getattr(trace, stage)
        if seconds is not None:
            fields[f"{stage}_seconds"] = round(seconds, 6)
    if suppressed:
        fields["suppressed"] = suppressed
    return json.dumps(fields, separators=(",", ":"))


def request_writer() -> Callable[[str], None]:
    """Writes lines to stderr as they are: BentoML's own lines go to stdout, with a prefix that no JSON reader takes."""
    logger = logging.getLogger("serving.requests")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(Background(handler))
    return logger.info
