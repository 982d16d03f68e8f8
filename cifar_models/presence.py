"""Whether something is there."""

from pathlib import Path


def is_there(path: Path) -> bool:
    """Raises OSError where nobody can tell, as of too long a name: from Python 3.14 on `Path.exists` says False."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
