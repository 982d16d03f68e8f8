"""The one error that a command shows to the person who runs it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """What was given cannot be used. `str(error)` is one line: the value, the rule and the way out."""


def run_command(main: Callable[[], int | None], *, interrupted: str = "stopped") -> None:
    """Run a command's `main` and exit: with its code, with 2 and one line when the input was wrong, or with 130.

    `interrupted` is what Ctrl-C is answered with.
    """
    try:
        sys.exit(main())
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")  # at once: several processes may share the terminal
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        sys.exit(130)
