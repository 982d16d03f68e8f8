"""`python -m serving.client`: the labels of whole folders, against a real server."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from bodies import encode, pictures, png, post
from conftest import ROOT, ServerProcess, command


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def labels(
    server: ServerProcess, *paths: Path, check: bool = True
) -> "tuple[subprocess.CompletedProcess[str], list[dict[str, str]]]":
    done = command("serving.client", *paths, "--url", server.url, check=check)
    return done, list(csv.DictReader(done.stdout.splitlines()))


def test_each_picture_of_a_folder_has_a_row_as_it_has_alone(
    server: ServerProcess, client: httpx.Client, tmp_path: Path
) -> None:
    images = pictures(70)  # more than are asked for together
    files = [
        write(tmp_path / f"{number % 3}" / f"{number:02}.png", encode(image)) for number, image in enumerate(images)
    ]
    write(tmp_path / "0" / "._00.png", b"of macOS")
    write(tmp_path / ".trash" / "00.png", b"thrown away")
    write(tmp_path / "notes.txt", b"of nobody")
    _, rows = labels(server, tmp_path)
    assert [row["path"] for row in rows] == sorted(map(str, files))
    for row in rows[::10]:
        answer = post(client, png(images[int(Path(row["path"]).stem)])).json()
        (prediction,) = answer["predictions"]
        assert row["label"] == prediction["label"]
        assert float(row["probability"]) == pytest.approx(prediction["probability"], abs=1e-5)
        assert row["confident"] == str(prediction["confident"]).lower()
        assert row["model"] == f"{answer['model']['name']} {answer['model']['version']}"
        assert row["error"] == ""


def test_what_is_no_picture_says_so_and_the_others_have_their_labels(server: ServerProcess, tmp_path: Path) -> None:
    names = ["a.png", "b, with a comma.png", "c.png"]
    for name, image in zip(names, pictures(3), strict=True):
        write(tmp_path / name, encode(image))
    write(tmp_path / names[1], b"no picture")
    done, rows = labels(server, tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == "1 of 3 pictures have no label; the last column says why.\n"
    assert [Path(row["path"]).name for row in rows] == names
    assert [bool(row["label"]) for row in rows] == [True, False, True]
    assert [row["error"][:15] for row in rows] == ["", "The data are no", ""]


def test_a_name_that_is_no_text_is_written_as_it_is(server: ServerProcess, tmp_path: Path) -> None:
    path = write(tmp_path / os.fsdecode(b"caf\xe9.png"), encode(pictures(1)[0]))
    line = [sys.executable, "-m", "serving.client", str(path), "--url", server.url]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
    assert os.fsencode(path) in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["docs/nothing.png"], "docs/nothing.png is not there; name a picture, or a folder of them."),
        (["x" * 300], f"{'x' * 300} cannot be read (File name too long)."),
        (["serving/client"], "serving/client holds no picture: no file that ends with .bmp"),
        (["docs/ship.png", "--model", "nothing"], "There is no model 'nothing'"),
        (["docs/ship.png", "--url", "nowhere"], "'nowhere' is no address of a server"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(server: ServerProcess, arguments: list[str], expected: str) -> None:
    done = command("serving.client", "--url", server.url, *arguments, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
