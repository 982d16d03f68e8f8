"""A command: its options, and how it ends."""

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from cifar_models.errors import InputError


class Parser(argparse.ArgumentParser):
    """Options under their whole names only, and one line for a wrong one instead of all that would be right."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does, but an option that is unknown is named before its value is taken for something else."""
        words = sys.argv[1:] if args is None else list(args)
        for index, word in enumerate(words[: words.index("--")] if "--" in words else words):
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                self.error(f"unrecognized arguments: {' '.join(words[index : index + 2])}")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help lists what there is.")


def count(text: str) -> int:
    """A whole number above 0: the type of an option."""
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")


def amount(text: str) -> float:
    """A finite number above 0: the type of an option."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no finite number above 0")


def run_command(main: Callable[[], int | None], *, interrupted: str = "stopped") -> None:
    """Run a command's `main` and exit: with its code, with 2 and one line when the input was wrong, or with 130.

    `interrupted` is what Ctrl-C is answered with.
    """
    try:
        code = main()
        if sys.stdout is not None:
            sys.stdout.flush()  # here a reader that has gone is still noticed
        sys.exit(code)
    except InputError as error:
        complain(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        complain(f"\n{interrupted}")
        sys.exit(130)
    except BrokenPipeError:  # whoever read what is printed has gone
        end_output(sys.stdout)
        sys.exit(141)
    except OSError as error:
        if error.errno != errno.ENOSPC or not is_output_full():
            raise
        complain(f"error: What is printed cannot be written ({error.strerror}); make room where it goes.")
        end_output(sys.stdout)
        sys.exit(2)


def say(line: str) -> None:
    """Print it at once, while a run has still much to do. Where the terminal has gone, the run goes on in silence.

    Not where a disk is full or the reader of a pipe has gone: somebody wanted what is printed.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        end_output(sys.stdout)


def complain(line: str) -> None:
    """Write it to stderr, at once: several processes may share it. Where that cannot be, the exit code is to tell."""
    try:
        print(line, file=sys.stderr, flush=True)  # nowhere, where it is closed
    except OSError:  # a full disk, a terminal that has gone: what else is printed often goes there too
        end_output(sys.stdout, sys.stderr)


def is_output_full() -> bool:
    """By trying: an error of writing does not name its file, which may have been another."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def end_output(*streams: TextIO) -> None:
    """Let nothing more be written to them, what the interpreter still has to write at its end neither."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
