"""A server in this process whose engine can be held, broken and mended, and requests to it without a network."""

import asyncio
import gc
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import uvicorn
from batching import PATIENCE
from bodies import DEFAULT, RAW
from conftest import MODELS

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.batching.batcher import Batcher
from serving.engines import bundles
from serving.engines.onnx import OnnxCpu
from serving.engines.registry import ENGINES, EngineKind
from serving.engines.ways import Way
from serving.http.app import App
from serving.http.connection import Connection
from serving.http.server import Server
from serving.settings import Settings

ENGINE = "onnxruntime-cpu-int8"


class BreakableEngine:
    """The real one, and switches: it can be held, fail, or compute something else. It remembers its first pixels."""

    lanes = 1
    processors = 1
    batcher: Batcher  # in front of it

    def __init__(self, path: Path, threads: int, max_batch: int) -> None:
        self._engine = OnnxCpu(path, 1)
        self.go = threading.Event()
        self.go.set()
        self.broken = self.wrong = False
        self.held: set[int] = set()  # first pixels that it waits with; with all where there are none
        self.computed: list[int] = []
        self.calls = 0

    def __call__(self, *parts: Pixels) -> Probabilities:
        images = np.concatenate(parts)
        self.calls += 1
        if not self.held or self.held & set(images[:, 0, 0, 0].tolist()):
            assert self.go.wait(PATIENCE)
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self.computed += images[:, 0, 0, 0].tolist()
        return self._engine(images)[:, :: -1 if self.wrong else 1]

    def ways(self) -> list[Way]:
        return [Way(16, self)]

    async def reach(self, calls: int) -> None:
        """Return when it has been called so often."""
        async with asyncio.timeout(PATIENCE):
            while self.calls < calls:
                await asyncio.sleep(0)

    async def wait_for_queue(self, images: int) -> None:
        """Return when so many wait for it."""
        async with asyncio.timeout(PATIENCE):
            while self.batcher.waiting != images:
                await asyncio.sleep(0)


@asynccontextmanager
async def breakable(
    monkeypatch: pytest.MonkeyPatch, *, timeout: float = PATIENCE, **settings: Any
) -> AsyncIterator[tuple[Server, BreakableEngine]]:
    made: list[BreakableEngine] = []

    def load(path: Path, threads: int, max_batch: int) -> BreakableEngine:
        made.append(BreakableEngine(path, threads, max_batch))
        return made[-1]

    kind = ENGINES[ENGINE]
    monkeypatch.setattr(bundles, "ENGINES", {ENGINE: EngineKind(kind.artifact, kind.cuda, kind.atol, load)})
    with TemporaryDirectory() as folder:  # of one bundle: to load the others takes longer than most tests do
        Path(folder, DEFAULT).symlink_to(MODELS / DEFAULT)
        server = Server(Settings(bundles=Path(folder), model=DEFAULT, engine=ENGINE, timeout=timeout, **settings))
        threshold = gc.get_threshold()
        await server.start()
        gc.unfreeze()  # what suits a server does not suit the tests
        gc.set_threshold(*threshold)
        (engine,) = made
        engine.batcher = server._serving[DEFAULT].batcher
        engine.computed.clear()
        engine.calls = 0
        try:
            yield server, engine
        finally:
            engine.go.set()
            await server.stop()


class Exchange:
    """One POST /classify of black images whose very first level is `mark`, over ASGI; the client may go away."""

    def __init__(self, server: Server, mark: int, count: int = 1) -> None:
        images = np.zeros((count, 32, 32, 3), np.uint8)
        images[:, 0, 0, 0] = mark
        self._body = images.tobytes()
        self.sent: list[Any] = []
        self.task = asyncio.ensure_future(App(not_found, server)(self._scope(), self._receive, self._send))

    def _scope(self) -> dict[str, Any]:
        headers = [(b"content-type", RAW.encode())]
        return {"type": "http", "method": "POST", "path": "/classify", "query_string": b"", "headers": headers}

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def leave(self) -> None:
        """As a connection ends it whose client goes; returns when it has ended."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(self.task, PATIENCE)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        await asyncio.wait_for(self.task, PATIENCE)
        start, body = self.sent
        return start["status"], json.loads(body["body"])


@asynccontextmanager
async def over_tcp(app: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Serve `app`, with nothing in front of it, by uvicorn with our connections; the server, and its port."""
    monkeypatch.setattr(Connection, "wrap_app", staticmethod(lambda app: app), raising=False)
    monkeypatch.setattr(Connection, "unreadable", staticmethod(lambda refusal, client: b"1"), raising=False)
    monkeypatch.setattr(Connection, "seconds", PATIENCE, raising=False)
    monkeypatch.setattr(Connection, "limit", 10, raising=False)
    config = uvicorn.Config(app, http=Connection, loop="asyncio", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.startup([listening])
        yield server, listening.getsockname()[1]
        await server.shutdown()


async def not_found(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("not for BentoML")
