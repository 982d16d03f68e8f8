"""How uvicorn, which BentoML starts, comes to use our connections, our loop and as many files as these need."""

import contextlib
import resource
from asyncio import constants, sslproto
from functools import cache

from uvicorn.config import HTTP_PROTOCOLS, LOOP_FACTORIES, WS_PROTOCOLS

from serving.http import loop
from serving.http.connection import Connection, WrapApp

_OTHER_FILES = 256 + 3 * loop.AT_ONCE  # those that are taken, and not yet counted or closed


def stand_before(wrap_app: WrapApp, *, seconds: float, limit: int, encrypted: bool) -> None:
    """Make uvicorn, which BentoML starts with "auto", use Connection; `wrap_app` is given BentoML's application."""
    Connection.wrap_app = staticmethod(cache(wrap_app))
    Connection.seconds = seconds
    Connection.limit = limit
    HTTP_PROTOCOLS["auto"] = f"{Connection.__module__}:{Connection.__name__}"
    # uvloop would take 256 KiB for each connection that is encrypted.
    LOOP_FACTORIES["auto"] = LOOP_FACTORIES["asyncio"] if encrypted else f"{loop.__name__}:{loop.loop_factory.__name__}"
    WS_PROTOCOLS["auto"] = None  # who offers to speak it is answered in HTTP, as `serving.http.upgrade` has it
    # Before it has shown its certificate a connection owes something too, and is not counted; and for each that is
    # encrypted asyncio would keep 256 KiB at hand to read into, of which a record fills 16 at most.
    constants.SSL_HANDSHAKE_TIMEOUT = seconds
    sslproto.SSLProtocol.max_size = 16 * 1024


def allow_connections(limit: int) -> None:
    """Raise this process's own limit of open files, often 1,024, as far as the system lets us, for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limit + _OTHER_FILES
    if soft != resource.RLIM_INFINITY:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
