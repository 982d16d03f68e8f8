"""Whose turn it is where several threads want the same core."""

import os
import sys
from contextlib import suppress

_STEP = 5  # a third of the weight, for Linux
_NICE = os.getpriority(os.PRIO_PROCESS, 0) + _STEP


def let_the_event_loop_go_first() -> None:
    """Make the calling thread, and those that it starts, nicer than the process was at first; once, if called again.

    One that works for milliseconds must not keep the event loop from its core, which feeds them all. Does nothing where
    niceness is a whole process's, or must not be changed.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)  # of the calling thread, for Linux
