"""The parent process, BentoML's: it watches over the workers, by circus, and tells them when the whole server stops."""

import contextlib
from pathlib import Path
from typing import Any

from bentoml._internal.utils import circus
from tornado import gen

from serving.observing.metrics import FOLDER

END = "stopping"  # a file in the folder of all workers: the server stops, and they are stopped with it
_LOOK = 2  # seconds between two looks whether the workers live; BentoML's figure is 10
_BUSY = 0.05  # seconds between looks whether circus has done what it does

_create = circus.create_standalone_arbiter


def watch_over_workers() -> None:
    """Have BentoML watch over its workers as `create_arbiter` does."""
    circus.create_standalone_arbiter = create_arbiter


def create_arbiter(*arguments: Any, threaded: bool = False, **options: Any) -> Any:
    """BentoML's, which looks more often, announces its end, and stops also if it is told so while it replaces a worker.

    circus's own raises an error then, which nobody sees, and the signal is lost. In a container BentoML replaces no
    worker, for the container to end and be started again; but it only ends with its last one.
    """
    arbiter: Any = _create(*arguments, threaded=threaded, check_delay=_LOOK, **options)
    for watcher in arbiter.watchers:
        watcher.respawn = True
    if threaded:  # inside a program, which stops it from another thread
        arbiter.exit_stack.callback(announce_end, arbiter)
        return arbiter
    stop = arbiter.stop

    @gen.coroutine
    def stop_when_free() -> Any:
        while arbiter._exclusive_running_command is not None:
            yield gen.sleep(_BUSY)
        announce_end(arbiter)
        yield stop()

    arbiter.stop = stop_when_free
    return arbiter


def announce_end(arbiter: Any) -> None:
    for watcher in arbiter.watchers:
        if folder := (watcher.env or {}).get(FOLDER):  # one that looks for changed files has none
            with contextlib.suppress(OSError):  # then the port stays open until this process has gone
                Path(folder, END).touch()
