"""Files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_models.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds it replaces `path`, otherwise it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def saving(path: Path) -> Iterator[Path]:
    """`replacing`, for what a command leaves behind: raises InputError when `path` cannot be written."""
    if not path.name:
        raise InputError(f"'{path}' is no name of a file to write; give one.")
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); what was there before is intact.") from error
