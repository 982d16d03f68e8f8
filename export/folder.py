"""A bundle folder that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; when the block succeeds it takes its place, otherwise it is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    retired = folder.with_name(f".{folder.name}.{os.getpid()}.retired")
    # A killed process may have had our number: in a container, all have the same.
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(retired, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(retired)
        partial.rename(folder)
    finally:
        if retired.exists() and not folder.exists():
            retired.rename(folder)
        shutil.rmtree(retired, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
