"""The ASGI application in front of BentoML's: our routes, our errors; health and schema are left to BentoML.

It stands before BentoML's router rather than behind it, because a request then skips BentoML's own parsing, validation
and serialisation, which cost more than the batching.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import Busy, EngineFailed, MethodNotAllowed, NotFound, Refusal
from serving.http.answer import Prediction, json_response, refusal_response
from serving.http.connection import CROWDED
from serving.http.server import Server
from serving.observing.metrics import CONTENT_TYPE
from serving.observing.trace import trace_of
from serving.page.files import FILES, HEADERS, INDEX, MEDIA_TYPES

logger = logging.getLogger(__name__)

_READ = "GET, HEAD"
_BENTOML_PATHS = {"/livez", "/readyz", "/healthz", "/schema.json"}

_FILES = StaticFiles(directory=INDEX.parent)  # for its rule of what a client has already

Handler = Callable[[Request], Awaitable[Response]]


class App:
    """Routes requests to `server`, or on to `app`."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self._app = app
        self._server = server
        self._routes: dict[str, tuple[str, Handler]] = {
            "/classify": ("POST", self._classify),
            "/models": ("GET", self._models),
            "/metrics": ("GET", self._metrics),
            "/": ("GET", self._page),
            "/docs": ("GET", self._reference),
            "/docs.json": ("GET", self._description),
            **dict.fromkeys(FILES, ("GET", self._file)),
        }

    @property
    def paths(self) -> set[str]:
        """All that is answered, here or by BentoML."""
        return set(self._routes) | _BENTOML_PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["path"] in _BENTOML_PATHS and scope["method"] in ("GET", "HEAD")):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._route(request)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Refusal as refusal:
            response = self._refuse(request, refusal)
        except Exception:
            logger.exception("Request %r failed", trace_of(scope).id.decode())
            response = self._refuse(request, EngineFailed("The server failed; its log says why."))
        await response(scope, receive, send)

    def _refuse(self, request: Request, refusal: Refusal) -> Response:
        trace_of(request.scope).refused(refusal.code, str(refusal))
        return refusal_response(refusal)

    async def _route(self, request: Request) -> Response:
        path = request.scope["path"]
        if path in _BENTOML_PATHS:  # which would answer in plain text
            raise MethodNotAllowed(f"{path} answers GET, not {request.method}.", allow=_READ)
        if path not in self._routes:
            raise NotFound(f"There is nothing at {path}; see GET /docs for what there is.")
        method, handler = self._routes[path]
        # The server in front drops the body of an answer to HEAD.
        if request.method != method and (method, request.method) != ("GET", "HEAD"):
            raise MethodNotAllowed(
                f"{path} answers {method}, not {request.method}.", allow=_READ if method == "GET" else method
            )
        return await handler(request)

    async def _classify(self, request: Request) -> Response:
        if CROWDED in request.scope:
            raise Busy(
                "There are too many connections; try again later, over one that is open already if there is one."
            )
        answer = await self._server.classify(request)
        return Prediction(answer, trace_of(request.scope).server_timing())

    async def _models(self, request: Request) -> Response:
        return json_response(self._server.models())

    async def _metrics(self, request: Request) -> Response:
        # Not on the event loop: adding up the files of many workers takes milliseconds.
        return Response(await asyncio.to_thread(self._server.metrics.render), media_type=CONTENT_TYPE)

    async def _page(self, request: Request) -> Response:
        return whole(request, INDEX)

    async def _file(self, request: Request) -> Response:
        return whole(request, FILES[request.scope["path"]])

    async def _reference(self, request: Request) -> Response:
        return HTMLResponse(self._server.reference(), headers=HEADERS)

    async def _description(self, request: Request) -> Response:
        return json_response(self._server.description())


def whole(request: Request, file: Path) -> Response:
    """The file, unless the client's copy of it is as new, and whatever Range says (RFC 9110, section 14.2).

    Starlette refuses a wrong Range in plain text.
    """
    request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    headers = {**HEADERS, "Accept-Ranges": "none"}
    response = FileResponse(file, headers=headers, media_type=MEDIA_TYPES.get(file.suffix), stat_result=file.stat())
    if _FILES.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response
