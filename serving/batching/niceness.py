"""Whose turn it is where several threads want the same core."""

import os
import sys
from contextlib import suppress

_STEP = 5  # a third of the weight, for Linux


def let_the_event_loop_go_first() -> None:
    """Make the calling thread nicer, and those that it starts.

    One that works for milliseconds must not keep the event loop from its core, which feeds them all. Does nothing where
    niceness is a whole process's, or must not be changed.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.nice(_STEP)
