"""A bundle folder that appears whole or not at all."""

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cifar_models.atomic import abandoned, partial_of
from cifar_models.bundle import MANIFEST
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
    partial = partial_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(folder)
        partial.mkdir()
        yield partial
        if os.path.lexists(folder):  # also a link to nothing, which no folder could be renamed to
            exchange(partial, folder)
        else:
            partial.rename(folder)
    except BrokenPipeError:  # whoever read what is printed has gone
        raise
    except OSError as error:
        # Where the system does not say which file it was, it may be one of the quantiser's; tempfile would look for a
        # folder with room, and raise where there is none.
        where = error.filename or f"{folder}, or a file in the folder for temporary ones (TMPDIR),"
        raise InputError(
            f"{where} cannot be written ({error.strerror or error}); {folder} is as it was before."
        ) from error
    finally:
        remove(partial)


def is_bundle(folder: Path) -> bool:
    """Whether it has a manifest of ours: also of an old schema, or of a bundle that is damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.keys() >= {"schema_version", "artifacts"}


def clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left of `folder`; what they put aside takes its place if there is none."""
    old = list(abandoned(folder.parent, aside(folder)))
    if old and not folder.exists():
        old.pop().rename(folder)
    for path in [*old, *abandoned(folder.parent, folder.name)]:
        remove(path)


def remove(path: Path) -> None:
    """Remove a folder, or a link to one, which stays; where that cannot be done, leave it."""
    if os.path.islink(path):
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def aside(folder: Path) -> str:
    """What `folder` is called while another one takes its place; no bundle has such a name."""
    return f"{folder.name}~"


def exchange(one: Path, other: Path) -> None:
    """Give each folder the other's name, in one step where the system can (Linux)."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    old = partial_of(other.with_name(aside(other)))
    other.rename(old)
    try:
        one.rename(other)
    except OSError:
        old.rename(other)
        raise
    old.rename(one)
