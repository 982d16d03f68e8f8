"""Our own application without BentoML, the bound to come close to: uvicorn bench.peers.uvicorn_bare:app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.http.app import App
from serving.http.server import Server
from serving.settings import load_settings

SERVER = Server(load_settings())


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await SERVER.start()
    yield
    await SERVER.stop()


async def ready(request: Request) -> Response:
    return Response(status_code=200 if SERVER.ready else 503)


app = App(Starlette(routes=[Route("/readyz", ready)], lifespan=lifespan), SERVER)
