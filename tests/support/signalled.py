"""`python -m signalled 15 200 0 ...`: training.fit, whose process of rank 0 gets signal 15 after its 200th step.

SIGHUP it gets twice, as one closed terminal sends it, and from a parent that does not ignore it.
"""

import os
import signal
import sys

from cifar_models.command import run_command
from training import fit
from training.stop import StopVote

passes = StopVote.passes
taken = 0


def counted(vote: StopVote, has_diverged: bool) -> bool:
    """Called after each step."""
    global taken
    taken += 1
    if taken == steps and int(os.environ.get("RANK", "0")) == rank:
        for _ in range(2 if number == signal.SIGHUP else 1):
            os.kill(os.getpid(), number)
    return passes(vote, has_diverged)


if __name__ == "__main__":
    number, steps, rank = (int(sys.argv.pop(1)) for _ in range(3))
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_DFL)
    StopVote.passes = counted  # type: ignore[method-assign,assignment]
    run_command(fit.main)
