"""What is known of one request: filled in on its way, read when it has ended. Knows neither HTTP nor Prometheus."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

KEY = "cifar.trace"  # of an ASGI scope
OTHER = "other"  # any path that is none of ours


@dataclass(slots=True, eq=False)
class Trace:
    """A request on its way. Durations are seconds, None for what it has not come to."""

    id: bytes = b""
    route: str = OTHER  # a path that we answer; never what a client invented
    start: float = field(default_factory=perf_counter)
    status: int = 0  # 0: nobody was answered
    code: str = ""  # of the error
    message: str = ""
    images: int = 0
    size: int = 0  # bytes of the body that were read
    receive: float | None = None  # until the body was there
    decode: float | None = None  # from there to pixels
    queue: float | None = None  # until its first image went to the engine
    inference: float | None = None  # from there until its last one came back
    batch: int | None = None  # images in the largest batch that held some of its own
    total: float = 0.0

    def received(self) -> None:
        self.receive = perf_counter() - self.start

    def decoded(self, images: int) -> None:
        self.images = images
        if self.receive is not None:
            self.decode = perf_counter() - self.start - self.receive

    def server_timing(self) -> bytes:
        """What its time went to so far, in milliseconds: the value of a Server-Timing header (W3C)."""
        steps = {b"receive": self.receive, b"decode": self.decode, b"queue": self.queue, b"inference": self.inference}
        known = {name: seconds for name, seconds in steps.items() if seconds is not None}
        known[b"total"] = perf_counter() - self.start
        entries = [b"%b;dur=%.3f" % (name, 1000 * seconds) for name, seconds in known.items()]
        return b", ".join(entries if self.batch is None else [*entries, b'batch;desc="%d"' % self.batch])

    def refused(self, code: str, message: str) -> None:
        self.code = code
        self.message = message


def trace_of(scope: Mapping[str, Any]) -> Trace:
    """The trace that `Door` gave this request; where there is no door, one that nobody will read."""
    return scope.get(KEY) or Trace()
