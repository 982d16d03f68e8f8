"""Numbers in shared files outlive the process that counted them, and are read by any other."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT

from serving.observing.tally import Tally, read

COUNT_AND_DIE = """
import os, resource, signal, sys
from pathlib import Path
from serving.observing.tally import Tally
tally = Tally(Path(sys.argv[1]))
tally.cells(("count", "a"), 3)[1] += 5
tally.cells(("gauge",), 1, live=True)[0] = 7
full = Path(sys.argv[1], "0.names").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))
tally.cells(("nobody knows its name",), 1)[0] = 9
os.kill(os.getpid(), signal.SIGKILL)
"""


def count_in_a_process_that_dies(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COUNT_AND_DIE, folder], cwd=ROOT, check=False)
    assert done.returncode == -9


def test_what_a_dead_process_counted_stays_and_what_it_was_doing_does_not(tmp_path: Path) -> None:
    count_in_a_process_that_dies(tmp_path)
    assert list(read(tmp_path)) == [{("count", "a"): [0, 5, 0]}]


def test_the_next_process_goes_on_with_the_file_of_a_dead_one(tmp_path: Path) -> None:
    for _ in range(2):
        count_in_a_process_that_dies(tmp_path)
    tally = Tally(tmp_path)
    (counted,) = read(tmp_path)
    assert counted == {("count", "a"): [0, 10, 0], ("gauge",): [0]}
    assert tally.cells(("new",), 1)[0] == 0
    tally.cells(("count", "a"), 3)[2] += 1
    (counted,) = read(tmp_path)
    assert counted["count", "a"] == [0, 10, 1]


def test_processes_that_live_have_files_of_their_own(tmp_path: Path) -> None:
    tallies = [Tally(tmp_path) for _ in range(3)]  # a lock belongs to who opened the file, so one process will do
    for number, tally in enumerate(tallies):
        tally.cells(("count",), 1)[0] += number
        tally.cells(("gauge", str(number)), 1, live=True)[0] = 1
    assert list(read(tmp_path)) == [{("count",): [number], ("gauge", str(number)): [1]} for number in range(3)]


def test_there_is_room_for_any_number_of_series(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    for number in range(2000):
        tally.cells((str(number),), 18)[17] = number
    (counted,) = read(tmp_path)
    assert list(counted.values()) == [[0] * 17 + [number] for number in range(2000)]


LONG = "a" * 60_000  # two of these names need more than the first page of numbers, and less than two pages


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may have more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("missing", [1, 20_000])
def test_a_disk_that_was_full_for_a_moment_loses_no_more_than_what_had_no_room(tmp_path: Path, missing: int) -> None:
    tally = Tally(tmp_path)
    tally.cells((LONG,), 1)[0] = 1
    with full_disk(2 * (tmp_path / "0.names").stat().st_size - missing):  # of the next name's bytes
        tally.cells((LONG.upper(),), 1)[0] = 1
        tally.cells(("a page of its own",), 8192)[0] = 1
        assert list(read(tmp_path)) == [{(LONG,): [1]}]
    tally.write_names()
    assert list(read(tmp_path)) == [{(LONG,): [1], (LONG.upper(),): [1]}]
    tally.cells(("after",), 8192)[0] = 1
    (counted,) = read(tmp_path)
    assert {name: values[0] for (name,), values in counted.items()} == {LONG: 1, LONG.upper(): 1, "after": 1}


def test_a_name_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    tally.cells(("whole",), 1)[0] = 1
    with (tmp_path / "0.names").open("a") as names:
        names.write('\n[["ha')
    assert list(read(tmp_path)) == [{("whole",): [1]}]


def test_a_name_that_was_never_finished_does_not_spoil_the_next(tmp_path: Path) -> None:
    count_in_a_process_that_dies(tmp_path)
    with (tmp_path / "0.names").open("a") as names:
        names.write('\n[["ha')
    Tally(tmp_path).cells(("next",), 1)[0] = 1
    (counted,) = read(tmp_path)
    assert counted == {("count", "a"): [0, 5, 0], ("gauge",): [0], ("next",): [1]}
