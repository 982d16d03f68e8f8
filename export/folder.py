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

    Whoever looks, or is killed, finds one of the two whole. What killed ones left beside `folder` is removed. Raises
    InputError when it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        # A killed process may have had our number: in a container, all have the same.
        shutil.rmtree(partial, ignore_errors=True)
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


def remove_abandoned(folder: Path) -> None:
    """Remove the partial folders of `folder` whose process is gone."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)\.partial")
    for path in folder.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not is_running(int(match[1])):
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
    one.rename(other)
    aside.rename(one)
