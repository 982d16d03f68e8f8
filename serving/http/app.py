"""The ASGI application in front of BentoML's: our routes, our errors; health and schema are left to BentoML.

It stands before BentoML's router rather than behind it, because a request then skips BentoML's own parsing, validation
and serialisation, which cost more than the batching.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence, Set

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.description.document import describe
from serving.description.page import render
from serving.errors import Busy, EngineFailed, MethodNotAllowed, NotFound, Refusal
from serving.http.access import OPEN_PATHS, check_key
from serving.http.answer import Prediction, json_response, refusal_response
from serving.http.connection import CROWDED
from serving.http.server import Server
from serving.observing.metrics import CONTENT_TYPE
from serving.observing.trace import trace_of
from serving.page.files import FILES, HEADERS, INDEX, MEDIA_TYPES

logger = logging.getLogger(__name__)

_READ = "GET, HEAD"
_BENTOML_PATHS = ("/livez", "/readyz", "/healthz", "/schema.json")
_FILES = {"/": INDEX, **FILES}
_STATIC = StaticFiles(directory=INDEX.parent)  # for its rule of what a client has already

Handler = Callable[[Request], Awaitable[ASGIApp]]


class App:
    """Routes requests to `server`, or on to `app`; with `keys`, digests of API keys, those that name one of them."""

    def __init__(self, app: ASGIApp, server: Server, keys: Sequence[bytes] = ()) -> None:
        self._app = app
        self._server = server
        self._keys = keys
        self._routes: dict[str, tuple[str, Handler]] = {
            "/classify": ("POST", self._classify),
            "/models": ("GET", self._models),
            "/metrics": ("GET", self._metrics),
            "/docs": ("GET", self._reference),
            "/docs.json": ("GET", self._description),
            **dict.fromkeys(_FILES, ("GET", self._file)),
            **dict.fromkeys(_BENTOML_PATHS, ("GET", self._foreign)),
        }

    @property
    def paths(self) -> Set[str]:
        """All that is answered, here or by BentoML."""
        return self._routes.keys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            response = await self._route(Request(scope, receive))
        except ClientDisconnect:
            return  # nobody is left to answer
        except Refusal as refusal:
            response = refuse(scope, refusal)
        except Exception:
            logger.exception("Request %r failed", trace_of(scope).id.decode())
            response = refuse(scope, EngineFailed("The server failed; its log says why."))
        await response(scope, receive, send)

    async def _route(self, request: Request) -> ASGIApp:
        path = request.scope["path"]
        if self._keys and path not in OPEN_PATHS:
            check_key(request.scope["headers"], self._keys)
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

    async def _reference(self, request: Request) -> Response:
        return HTMLResponse(render(self._server.settings), headers=HEADERS)

    async def _description(self, request: Request) -> Response:
        return json_response(describe(self._server.settings))

    async def _file(self, request: Request) -> Response:
        """Unless the client's copy is as new, and whatever Range says (RFC 9110, section 14.2).

        Starlette refuses a wrong Range in plain text.
        """
        request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
        file = _FILES[request.scope["path"]]
        headers = {**HEADERS, "Accept-Ranges": "none"}
        response = FileResponse(file, headers=headers, media_type=MEDIA_TYPES.get(file.suffix), stat_result=file.stat())
        if _STATIC.is_not_modified(response.headers, request.headers):
            return NotModifiedResponse(response.headers)
        return response

    async def _foreign(self, request: Request) -> ASGIApp:
        return self._app


def refuse(scope: Scope, refusal: Refusal) -> Response:
    trace_of(scope).refused(refusal.code, str(refusal))
    return refusal_response(refusal)
