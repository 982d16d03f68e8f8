"""A bundle folder that appears whole or not at all."""

import ctypes
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_models.errors import InputError

_HERE = -100  # AT_FDCWD: relative paths begin in the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; when the block succeeds it takes its place, otherwise it is removed.

    Whoever looks, or is killed, finds one of the two whole; where two folders cannot change names in one step, as on
    macOS, there is for a moment none, and if one is killed then the next call begins with putting the old one back.
    What else killed ones left beside `folder` is removed. Raises InputError when it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(folder)
        partial.mkdir()
        yield partial
        if folder.exists():
            exchange(partial, folder)
        else:
            partial.rename(folder)
    except BrokenPipeError:  # whoever read what is printed has gone
        raise
    except OSError as error:
        raise InputError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}); {folder} is as it was before."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def clear_abandoned(folder: Path) -> None:
    """Remove what processes that are gone left of `folder`; what they put aside takes its place if there is none."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)\.partial(\.aside)?")
    for path in list(folder.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        # A killed process may have had our number: in a container, all have the same.
        if not match or (int(match[1]) != os.getpid() and is_running(int(match[1]))):
            continue
        if match[2] and not folder.exists():
            path.rename(folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's, or no number of ours
        return True
    return True


def exchange(one: Path, other: Path) -> None:
    """Give each folder the other's name, in one step where the system can (Linux)."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    aside = one.with_name(f"{one.name}.aside")
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)
