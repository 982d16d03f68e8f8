"""A worker whose engine does not come back ends by itself; another takes its place, and chooses its engines anew."""

import logging
import os
import signal
from math import ceil
from typing import ClassVar

from serving.settings import Settings

logger = logging.getLogger(__name__)

_SPARE = 5.0  # seconds, beyond those that answers, their clients and the engines' threads may take


class Worker:
    """This process, if it is one."""

    is_ready: ClassVar[bool] = False  # it answers what it has accepted when it gets SIGTERM


def end_worker(name: str, settings: Settings) -> None:
    """As `kill` does: what was accepted is answered. A thread that hangs in a driver must not keep the process.

    Called on the main thread. Does nothing in a program that has the server in its own process: it is no worker.
    """
    if not Worker.is_ready:
        return
    logger.error("The engine of %s does not come back: this worker ends, and another takes its place", name)
    signal.alarm(ceil(2 * settings.timeout + settings.client_timeout + _SPARE))  # the system ends it then
    os.kill(os.getpid(), signal.SIGTERM)
