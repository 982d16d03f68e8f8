"""The outermost of our ASGI applications: names each request, and tells metrics and log how it ended."""

from collections.abc import Awaitable, Mapping, MutableMapping, Set
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Refusal
from serving.http.server import Server
from serving.observing.log import RequestLog, request_writer
from serving.observing.request_id import HEADER, choose_id
from serving.observing.trace import KEY, OTHER, Trace
from serving.settings import Settings

_GONE = 499, "client_gone"  # nginx's status for a client who did not wait for an answer
_NOT_OURS = "framework"  # an error of BentoML, a preflight that Starlette refuses, or a 500 of uvicorn


class Door:
    """Stands before `App` and, with it, before what BentoML answers; `paths` are all that they answer."""

    def __init__(self, app: ASGIApp, paths: Set[str], server: Server, settings: Settings) -> None:
        self._app = app
        self._paths = paths
        self._metrics = server.metrics
        self._log = RequestLog(sample=settings.log_sample, slow=settings.log_slow, write=request_writer())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = self._trace(scope)
        name = (HEADER, trace.id)

        def answer(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                message["headers"] = [*message.get("headers", ()), name]
            return send(message)

        self._metrics.in_flight.add(1)
        try:
            if not trace.status:  # else its body broke off before it was begun, and its client has been told
                await self._app(scope, receive, answer)
        except Exception:
            trace.status = trace.status or 500  # what the server in front will answer
            raise
        finally:
            self._metrics.in_flight.add(-1)
            self._end(trace, scope)

    def unreadable(self, refusal: Refusal, scope: MutableMapping[str, Any]) -> bytes:
        """Tell metrics and log of what is no HTTP, and comes no further than to its connection; its name.

        What breaks off in its body is a request all the same, and told of when its answering ends.
        """
        is_request = "path" in scope
        trace = self._trace(scope) if is_request else Trace(choose_id(()))
        trace.status = refusal.status
        trace.refused(refusal.code, str(refusal))
        if not is_request:
            self._end(trace, scope)
        return trace.id

    def _trace(self, scope: MutableMapping[str, Any]) -> Trace:
        """That of the request, made when it is first asked for."""
        if KEY not in scope:
            path = scope["path"]
            scope[KEY] = Trace(choose_id(scope["headers"]), path if path in self._paths else OTHER)
        trace: Trace = scope[KEY]
        return trace

    def _end(self, trace: Trace, scope: Mapping[str, Any]) -> None:
        trace.total = perf_counter() - trace.start
        if not trace.status:
            trace.status, trace.code = _GONE
        elif trace.status >= 400 and not trace.code:
            trace.code = _NOT_OURS
        self._metrics.ended(trace)
        client = scope.get("client")
        self._log.ended(trace, client[0] if client else "")
