"""Which source ran."""

import subprocess
from pathlib import Path

DIRTY = "-dirty"  # as git marks a commit that is not all of what ran


def source_revision() -> str:
    """The commit of this checkout, with "-dirty" when files differ from it; "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
