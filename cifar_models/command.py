"""A command: its options, and how it ends."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from cifar_models.errors import InputError


class Parser(argparse.ArgumentParser):
    """Options under their whole names only, and one line for a wrong one instead of all that would be right."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help lists what there is.")


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
