"""The exporters' libraries say much that no reader of an export can act upon."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def errors_only(logger: logging.Logger) -> Iterator[None]:
    """What `logger` says below an error is dropped inside of the block, and only there: it may be the root's."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
