"""Both clients asked alike, and servers that answer what a test says."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from bodies import encode

from cifar_models.picture import Pixels
from serving.client import Answer, AsyncClient, Client, Models
from serving.client.retries import Clock

T = TypeVar("T")

URL = "http://server:3000"
MODEL = {"name": "cifarnet", "version": "0123456789ab", "engine": "onnxruntime-cpu-int8"}
START_DATE = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110, 5.6.7

Outcome = httpx.Response | Exception
Handler = Callable[[httpx.Request], httpx.Response]


class Blocking:
    """An AsyncClient asked as a Client is: each call has an event loop and a client of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self._open: Callable[[], AsyncClient] = lambda: AsyncClient(url, **options)
        self._open()  # raises what is wrong with the options

    def classify(self, images: Any, **options: Any) -> Answer:
        return self._run(lambda client: client.classify(images, **options))

    def models(self) -> Models:
        return self._run(lambda client: client.models())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # each call closed its own

    def _run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        async def run() -> T:
            async with self._open() as client:
                return await call(client)

        return asyncio.run(run())


KINDS: tuple[type[Client] | type[Blocking], ...] = (Client, Blocking)


@dataclass
class FakeTime:
    """Time that passes when somebody sleeps, and at no other moment."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self, chance: float) -> Clock:
        return Clock(now=lambda: self.seconds, date=lambda: START_DATE + self.seconds, random=lambda: chance)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.slept.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def again(response: httpx.Response) -> httpx.Response:
    """The same as a new one, as a response belongs to one request."""
    return httpx.Response(response.status_code, headers=response.headers, content=response.content)


@dataclass
class Script:
    """A server that gives one outcome after the other, and the last one for ever."""

    outcomes: list[Outcome]
    requests: list[httpx.Request] = field(default_factory=list)
    limits: list[dict[str, float]] = field(default_factory=list)  # seconds that each step of a request may take

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.limits.append(request.extensions["timeout"])
        outcome = self.outcomes[min(len(self.requests), len(self.outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return again(outcome)


def mocked(kind: type[Client] | type[Blocking], handler: Handler, *, chance: float = 1.0, **options: Any) -> Any:
    """A client of a server that is a function, and the time that it lives in."""
    time = FakeTime()
    options |= {"_clock": time.clock(chance), "_sleep": time.sleep if kind is Client else time.sleep_async}
    return kind(URL, transport=httpx.MockTransport(handler), **options), time


def predictions(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"label": "cat", "index": 3, "probability": 0.9, "probabilities": {"cat": 0.9}, **more}] * count


def answered(count: int = 1, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"model": MODEL, "predictions": predictions(count), **more})


def refused(status: int, code: str = "any", headers: dict[str, str] | None = None, **error: Any) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"error": {"code": code, "message": "Said so.", **error}})


def count_images(request: httpx.Request) -> int:
    if request.headers["Content-Type"] == "application/octet-stream":
        return len(request.content) // 3072
    return request.content.count(b'name="images"')


def answer_all(request: httpx.Request) -> httpx.Response:
    """One prediction for each image, whose index is the number of images in its request."""
    request.read()
    count = count_images(request)
    content = {"model": MODEL, "predictions": predictions(count, index=count)}
    return httpx.Response(200, content=json.dumps(content).encode())


def write(path: Path, pixels: Pixels, kind: str = "PNG") -> Path:
    path.write_bytes(encode(pixels, kind))
    return path
