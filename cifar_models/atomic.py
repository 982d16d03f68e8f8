"""Files that are either whole or not there."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_models.errors import InputError

_PARTIAL = re.compile(r"\.(.+)\.(\d+)\.partial", re.DOTALL)


def partial_of(path: Path) -> Path:
    """Where this process makes what is to take the place of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def abandoned(folder: Path, name: str | None = None) -> Iterator[Path]:
    """What killed processes left in `folder`, half made, of whatever or of what was to be called `name`.

    Of the process that asks, too, which must not be making anything there: in a container, all have the same number.
    """
    for path in folder.iterdir():
        match = _PARTIAL.fullmatch(path.name)
        if match and name in (None, match[1]) and not is_another(int(match[2])):
            yield path


def is_another(process: int) -> bool:
    """Whether a process of this number is running that is not this one."""
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's, or no number of ours
        return True
    return process != os.getpid()


@contextmanager
def saving(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds it replaces `path`, otherwise it is removed.

    Raises InputError when `path` cannot be written.
    """
    if not path.name:
        raise InputError(f"'{path}' is no name of a file to write; give one.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(path)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); what was there before is intact.") from error
