"""Numbers that several processes count and any one of them can read: a file for each process, mapped into memory.

Counting is one write to memory; no process waits for another or sends it anything, and a reader sees what was counted
a moment ago. `prometheus_client` keeps files for this too, but takes ten times as long for an observation, by
`python -m bench.observing`: it goes through the buckets one by one, locks, packs, and asks for the process's number.

A file belongs to the process that holds its lock. The system gives the lock back when that process ends, however it
ends, and the next one to start goes on with the file: a counter does not fall back when a worker dies.
"""

import errno
import fcntl
import json
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TypeAlias

logger = logging.getLogger(__name__)

Cells: TypeAlias = "memoryview[float]"
Key: TypeAlias = tuple[str, ...]  # what is counted, and its labels' values

_PAGE = 64 * 1024  # bytes mapped at once: a multiple of every system's granularity
_CELL = 8  # bytes of a number, a float64


@dataclass(frozen=True, slots=True)
class Entry:
    """Some numbers of one process."""

    key: Key
    first: int  # place of the first number in the process's file
    count: int
    live: bool  # they hold only while the process lives: how many wait, but not how many came


class Tally:
    """This process's numbers. Any thread may ask for cells; only one may write to each of them."""

    def __init__(self, folder: Path) -> None:
        self._lock = Lock()
        self._file, numbers = claim(folder)
        self._names = numbers.with_suffix(".names")
        self._names.touch()
        self._entries = {entry.key: entry for entry in read_entries(self._names)}
        self._used = max((entry.first + entry.count for entry in self._entries.values()), default=0)
        self._unwritten: list[str] = []  # names for which the disk had no room
        self._pages: dict[int, Cells] = {}
        for entry in self._entries.values():
            if entry.live:  # of the process that had the file before
                self._clear(entry)

    def cells(self, key: Key, size: int, *, live: bool = False) -> Cells:
        """The `size` numbers of `key`, 0 when they are new. At most 8192."""
        try:
            with self._lock:
                if key not in self._entries:
                    self._add(key, size, live)
                    self._write_names()
                return self._map(self._entries[key])
        except OSError as error:  # a full disk must not fail a request
            logger.error("%s is not counted: %s", key, error)
            return memoryview(bytearray(size * _CELL)).cast("d")

    def _add(self, key: Key, size: int, live: bool) -> None:
        in_page = _PAGE // _CELL
        if self._used % in_page + size > in_page:
            self._used += -self._used % in_page
        entry = Entry(key, self._used, size, live)
        self._clear(entry)  # before its name is known: who reads the name finds the numbers
        self._unwritten.append(f"\n{json.dumps([key, entry.first, size, live])}")  # half a line may stand before it
        self._entries[key] = entry
        self._used += size

    def write_names(self) -> None:
        """Make known what is counted since the disk was full, if it is not any more."""
        with self._lock:
            self._write_names()

    def _write_names(self) -> None:
        if not self._unwritten:
            return
        try:
            with self._names.open("a") as names:
                names.writelines(self._unwritten)
        except OSError as error:
            logger.error("%d new numbers are not in /metrics until they can be named: %s", len(self._unwritten), error)
        else:
            self._unwritten.clear()

    def _clear(self, entry: Entry) -> None:
        self._map(entry)[:] = memoryview(bytes(entry.count * _CELL)).cast("d")

    def _map(self, entry: Entry) -> Cells:
        page, first = divmod(entry.first, _PAGE // _CELL)
        if page not in self._pages:
            start = page * _PAGE
            # Zeros are written, not left out: a hole in a file would kill the process if the disk were full later.
            missing = start + _PAGE - os.fstat(self._file).st_size
            if missing > 0 and os.pwrite(self._file, bytes(missing), start + _PAGE - missing) < missing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._pages[page] = memoryview(mmap.mmap(self._file, _PAGE, offset=start)).cast("d")
        return self._pages[page][first : first + entry.count]


def read(folder: Path) -> Iterator[dict[Key, list[float]]]:
    """The numbers of each process, those that live and those that are dead."""
    for names in sorted(folder.glob("*.names")):
        numbers = names.with_suffix(".numbers")
        alive = is_locked(numbers)
        entries = read_entries(names)  # before the numbers, which are there when the name is
        content = memoryview(numbers.read_bytes())
        cells: Cells = content[: len(content) // _CELL * _CELL].cast("d")  # a full disk may have ended it within one
        yield {
            entry.key: list(cells[entry.first : entry.first + entry.count])
            for entry in entries
            if alive or not entry.live
        }


def claim(folder: Path) -> tuple[int, Path]:
    """Open and lock the first file that belongs to no living process: its descriptor and path."""
    for number in count():
        path = folder / f"{number}.numbers"
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        return file, path
    raise AssertionError("there are numbers enough")


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def read_entries(names: Path) -> list[Entry]:
    """From lines of JSON. The last one may be being written, and the writer of any have died or found the disk full.

    No line ends before its last bracket: one that lacks a byte is no JSON, and its numbers are given to the next name.
    """
    entries = []
    for line in names.read_bytes().splitlines():
        with suppress(ValueError):
            key, first, count, live = json.loads(line)
            entries.append(Entry(tuple(key), first, count, live))
    return entries
