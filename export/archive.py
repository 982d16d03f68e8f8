"""Zip archives as torch writes them, made smaller and the same every time."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

# What torch notes for debuggers, the paths of this machine's sources line by line, and a hash that depends on them.
_DROPPED = (".debug_pkl", "/.data/serialization_id")


def rewrite_archive(path: Path) -> None:
    """Compress an archive and drop what depends on where it was made.

    Weights that float16 holds exactly end in zeros as float32, and shrink to little more than half, at any level;
    torch reads compressed members as it reads others.
    """
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith(_DROPPED)}
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=3) as archive:
        for name, data in members.items():
            archive.writestr(ZipInfo(name), data, ZIP_DEFLATED)
