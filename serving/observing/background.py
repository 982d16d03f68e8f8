"""Logs that are written by a thread: whoever reads them may stop reading, and a full pipe holds its writer up."""

import atexit
import logging
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue

from serving.observing.flood import FloodFilter

_LAST_SECONDS = 1.0
_LINES = 1000  # that wait to be written; what comes then is lost


class Listener(QueueListener):
    """A thread that may hang in writing, and then is left behind."""

    def finish(self) -> None:
        """Let it write what waits, for a second at most."""
        with suppress(Full):
            self.enqueue_sentinel()
        if self._thread is not None:
            self._thread.join(_LAST_SECONDS)


class Background(QueueHandler):
    """Hands lines to a thread that gives them to `handler`; never waits for it."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(Queue(_LINES))
        self.setLevel(handler.level)
        listener = Listener(self.queue, handler)
        listener.start()
        atexit.register(listener.finish)

    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(Full):
            self.queue.put_nowait(record)


def write_in_background(logger: logging.Logger) -> None:
    """From here on, its lines are written by threads, and none of its places may flood it."""
    logger.handlers = [Background(handler) for handler in logger.handlers]
    for handler in logger.handlers:
        handler.addFilter(FloodFilter())
