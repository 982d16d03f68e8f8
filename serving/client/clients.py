"""The two clients: how requests are sent and waited for, without asyncio and with it. Everything else is shared."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any, Self, TypeVar

import httpx

from serving.answers import Answer, Models
from serving.client.api import Api, Batch, join
from serving.client.errors import BadInput, check_range
from serving.client.images import ImagesLike
from serving.client.retries import SYSTEM_CLOCK, Clock, Outcome, Retries

T = TypeVar("T")


class Client:
    """Asks the server at `url`, such as "http://127.0.0.1:3000".

    - `api_key` is sent as `Authorization: Bearer …`, to a server or a proxy that wants one.
    - `timeout` (seconds, at most 2,147,483) bounds each request with all its retries: none of its steps may take longer
      than what is left.
    - `retries` is how often a request is sent again while the server is busy, not ready or out of reach.
    - `batch_size` is how many images one request holds at most. What is too large for the server is sent in halves.
    - `transport` is one of httpx's, for certificates and Unix sockets of your own.

    Proxies and certificates of the environment are used, as httpx does. Raises BadInput when one of all these cannot be
    used. Threads may share a client. `close` it, or use it in a `with`.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        batch_size: int = 256,
        transport: httpx.BaseTransport | None = None,
        _clock: Clock = SYSTEM_CLOCK,
        _sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = Api(url, api_key=api_key, batch_size=batch_size)
        self._retries = Retries(retries, timeout, _clock)
        self._sleep = _sleep
        self._http = made(lambda: httpx.Client(transport=transport))

    def classify(
        self, images: ImagesLike, *, model: str | None = None, top_k: int | None = None, strict: bool = False
    ) -> Answer:
        """One prediction for each image, in order.

        `images` is one or many, of any mixture: a path; the bytes of a PNG, JPEG, WebP, BMP or GIF; a Pillow picture;
        pixels uint8 [32, 32, 3] or [n, 32, 32, 3] in RGB, of which the latter count as n images. `model` names a bundle
        (the server's default one if None); `top_k` keeps the probabilities of that many labels, best first; `strict`
        refuses pictures that are not 32x32, which are otherwise cropped to a centred square and resized.

        Many images go in several requests, one after another; if one fails there is no answer.

        Raises BadInput (what was given cannot be sent), Unavailable (the server cannot be reached, is busy or not
        ready), ClassifyError (it refused, for example a damaged picture; `index` says which).
        """
        options = {"model": model, "top_k": top_k, "strict": strict or None}
        return join([answer for batch in self._api.cut(images) for answer in self._ask(batch, options)])

    def models(self) -> Models:
        """The bundles that the server has, with their manifests. Raises ClassifyError and Unavailable."""
        return self._api.read_models(self._send(self._api.models_request()))

    def _ask(self, batch: Batch, options: dict[str, Any]) -> list[Answer]:
        response = self._send(self._api.classify_request(batch, options))
        if halves := self._api.halve(response, batch):
            return [answer for half in halves for answer in self._ask(half, options)]
        return [self._api.read_answer(response, batch)]

    def _send(self, request: httpx.Request) -> httpx.Response:
        attempts = self._retries.begin()
        while True:
            self._sleep(attempts.wait)
            set_timeout(request, attempts.timeout)
            try:
                outcome: Outcome = self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            if attempts.end_with(outcome):
                return outcome

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """`Client` for asyncio, with the same parameters and errors.

    Of the requests of one call, at most `concurrency` are under way at the same time. It belongs to the event loop that
    it was first used in. `aclose` it, or use it in an `async with`.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        batch_size: int = 256,
        concurrency: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
        _clock: Clock = SYSTEM_CLOCK,
        _sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        check_range("concurrency", concurrency, 1)
        self._api = Api(url, api_key=api_key, batch_size=batch_size)
        self._retries = Retries(retries, timeout, _clock)
        self._concurrency = concurrency
        self._sleep = _sleep
        self._http = made(lambda: httpx.AsyncClient(transport=transport))
        self._encoding = asyncio.Lock()  # one thread at a time: two must not load the same Pillow picture

    async def classify(
        self, images: ImagesLike, *, model: str | None = None, top_k: int | None = None, strict: bool = False
    ) -> Answer:
        """`Client.classify`; many images go in several requests, some at the same time."""
        options = {"model": model, "top_k": top_k, "strict": strict or None}
        room = asyncio.Semaphore(self._concurrency)

        async def ask(batch: Batch) -> list[Answer]:
            async with room:
                return await self._ask(batch, options)

        cut = await asyncio.to_thread(self._api.cut, images)  # looks for files
        answers = await all_or_none(ask(batch) for batch in cut)
        return join(list(chain.from_iterable(answers)))

    async def models(self) -> Models:
        """`Client.models`."""
        return self._api.read_models(await self._send(self._api.models_request()))

    async def _ask(self, batch: Batch, options: dict[str, Any]) -> list[Answer]:
        async with self._encoding:
            request = await in_thread(self._api.classify_request, batch, options)  # reads files, encodes
        response = await self._send(request)
        if halves := self._api.halve(response, batch):
            return [answer for half in halves for answer in await self._ask(half, options)]
        return [self._api.read_answer(response, batch)]

    async def _send(self, request: httpx.Request) -> httpx.Response:
        attempts = self._retries.begin()
        while True:
            await self._sleep(attempts.wait)
            set_timeout(request, attempts.timeout)
            try:
                outcome: Outcome = await self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            if attempts.end_with(outcome):
                return outcome

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def made(make: Callable[[], T]) -> T:
    """One of httpx's clients, which look at the environment when they are made."""
    try:
        return make()
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        what = str(error).rstrip(".")  # of SOCKS it is a sentence
        raise BadInput(
            f"A proxy or the certificates of the environment cannot be used: {what}. Set right, or unset, what there "
            "is of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE."
        ) from error


def set_timeout(request: httpx.Request, seconds: float) -> None:
    request.extensions = {**request.extensions, "timeout": httpx.Timeout(float(seconds)).as_dict()}


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """What the function returns. Nobody can stop a thread, so one who is cancelled meanwhile waits for its end."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):  # another one
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # which nobody wants any more, and asyncio would log
        raise


async def all_or_none(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order, or the first error; nothing is left running."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
