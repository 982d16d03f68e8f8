"""A bundle's folder appears whole or not at all, and what killed exports left beside it goes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, started
from damaged import copy_bundle
from test_export_refusals import contents

from cifar_models.errors import InputError
from export.folder import replacing_folder
from serving.engines.bundles import find_bundles


def test_a_killed_export_leaves_the_bundle_before_it(
    tiny_bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    before = contents(folder)
    formats = ["--formats", "torchscript-fp32"]
    with started("export", tiny_run / "best.pt", "--out", folder, "--data", tiny_data, *formats) as process:
        assert next(process.stdout).startswith("model.torchscript.pt ")  # the new file is there
        process.send_signal(signal.SIGKILL)
    assert contents(folder) == before
    assert list(find_bundles(tmp_path)) == ["tiny"]  # a server does not see what the killed one left
    assert (tmp_path / f".tiny.{process.pid}.partial").exists()
    with replacing_folder(folder) as partial:
        (partial / "manifest.json").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]  # the next one cleans up


def test_what_a_killed_process_left_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / f".tiny.{os.getpid()}.partial").mkdir()  # in a container, each process may have the same number
    (tmp_path / f".tiny.{os.getpid()}.partial" / "model.onnx").touch()
    with replacing_folder(tmp_path / "tiny") as partial:
        (partial / "manifest.json").touch()
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["manifest.json"]


def test_only_what_an_export_of_this_bundle_left_whose_process_is_gone_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    abandoned = f".tiny.{gone.pid}.partial"
    others = {
        f".tiny.{os.getppid()}.partial",  # of a process that still works
        f".other.{gone.pid}.partial",
        f".tiny.more.{gone.pid}.partial",
        f"tiny.{gone.pid}.partial",
        f".tiny~~.{gone.pid}.partial",
        ".tiny.notes.partial",
    }
    for name in ("tiny", abandoned, f".tiny~.{gone.pid}.partial", *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").touch()
    with replacing_folder(tmp_path / "tiny") as partial:
        (partial / "manifest.json").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", *others}
    assert all((tmp_path / name / "model.onnx").exists() for name in others)


# On a system that cannot exchange two folders in one step.
KILLED_WHILE_IT_RENAMES = """
import os, sys
from pathlib import Path
from export import folder

folder.ctypes.CDLL = lambda *_, **__: object()
rename, left = Path.rename, int(sys.argv[2])

def renaming(path, to):
    global left
    if left == 0:
        os.kill(os.getpid(), 9)
    left -= 1
    return rename(path, to)

Path.rename = renaming
with folder.replacing_folder(Path(sys.argv[1])) as partial:
    (partial / "new").touch()
"""


@pytest.mark.parametrize(("renames", "found"), [(0, "old"), (1, "old"), (2, "new"), (3, "new")])
def test_an_export_that_is_killed_while_it_renames_loses_no_bundle(tmp_path: Path, renames: int, found: str) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "old").touch()
    line = [sys.executable, "-c", KILLED_WHILE_IT_RENAMES, str(tmp_path / "tiny"), str(renames)]
    code = subprocess.run(line, cwd=ROOT, check=False).returncode
    assert code == (0 if renames == 3 else -signal.SIGKILL)
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "tiny"):  # the next one, which changes nothing
        raise KeyboardInterrupt
    assert contents(tmp_path) == {f"tiny/{found}": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_an_export_that_cannot_take_the_place_of_the_old_one_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def renaming(path: Path, to: Path) -> Path:
        if path.name.startswith(".tiny."):  # the new one
            raise PermissionError(1, "Operation not permitted", str(path))
        return rename(path, to)

    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "old").touch()
    monkeypatch.setattr(Path, "rename", renaming)
    monkeypatch.setattr("export.folder.ctypes.CDLL", lambda *_, **__: object())
    with pytest.raises(InputError, match="tiny is as it was before"), replacing_folder(tmp_path / "tiny") as partial:
        (partial / "new").touch()
    assert contents(tmp_path) == {"tiny/old": b""}


def test_a_disk_without_room_for_temporary_files_either_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")  # tempfile's own

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(InputError, match="cannot be written"), replacing_folder(tmp_path / "tiny"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("exchange", ["in one step", "by renaming"])
def test_a_link_to_nothing_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: str) -> None:
    if exchange == "by renaming":
        monkeypatch.setattr("export.folder.ctypes.CDLL", lambda *_, **__: object())
    (tmp_path / "tiny").symlink_to("old")
    with replacing_folder(tmp_path / "tiny") as partial:
        (partial / "new").touch()
    assert contents(tmp_path) == {"tiny/new": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("exchange", ["in one step", "by renaming"])
def test_a_link_to_a_bundle_is_replaced_and_the_bundle_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: str
) -> None:
    if exchange == "by renaming":
        monkeypatch.setattr("export.folder.ctypes.CDLL", lambda *_, **__: object())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "precious").touch()
    (tmp_path / "tiny").symlink_to("old")
    (tmp_path / f".tiny.{os.getpid()}.partial").symlink_to("old")  # of an export before, in a container
    with replacing_folder(tmp_path / "tiny") as partial:
        (partial / "new").touch()
    assert not (tmp_path / "tiny").is_symlink()
    assert contents(tmp_path) == {"old/precious": b"", "tiny/new": b""}
    assert {path.name for path in tmp_path.iterdir()} == {"old", "tiny"}
