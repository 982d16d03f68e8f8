"""Folders of pictures become labelled images; what cannot be used is refused in one line."""

import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEST_IMAGES, TRAIN_IMAGES, command, tiny_images, write_tiny_data
from PIL import Image

from cifar_models.cifar10 import LABELS
from cifar_models.dataset import Split, describe_left_out, load_images
from cifar_models.errors import InputError


@pytest.mark.parametrize(("split", "count", "seed"), [("train", TRAIN_IMAGES, 1), ("test", TEST_IMAGES, 2)])
def test_every_picture_has_the_label_of_its_folder(tiny_data: Path, split: Split, count: int, seed: int) -> None:
    data = load_images(tiny_data, split)
    assert data.classes == LABELS
    assert len(data) == 10 * count
    assert data.labels.dtype == np.int64
    for label in range(10):
        assert np.array_equal(data.images[data.labels == label], tiny_images(label, count, seed))


def test_classes_of_ones_own_are_taken_from_the_folders_in_alphabetical_order(tmp_path: Path) -> None:
    data = load_images(write_tiny_data(tmp_path, ("zebra", "apple", "Moon")), "train")
    assert data.classes == ("Moon", "apple", "zebra")
    assert np.array_equal(data.images[data.labels == 0], tiny_images(2, TRAIN_IMAGES, 1))
    assert np.array_equal(np.bincount(data.labels), [TRAIN_IMAGES] * 3)


def test_only_pictures_are_read_and_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = write_tiny_data(tmp_path, ("cat", "dog")) / "train" / "cat"
    Image.new("L", (50, 40), 77).save(folder / "b.jpeg")
    Image.new("RGB", (32, 32), (66, 66, 66)).save(folder / "a.JPG")
    for name in ("notes.txt", "x.JP2", "y.jp2", "NEF", "Thumbs.db", ".DS_Store"):
        (folder / name).write_text("no picture")
    (folder / "._000.png").write_bytes(b"what macOS knows of 000.png")
    (folder.parent / "README.md").write_text("no class")
    data = load_images(tmp_path, "train")
    assert np.array_equal(data.images[:TRAIN_IMAGES], tiny_images(0, TRAIN_IMAGES, 1))
    assert data.images[TRAIN_IMAGES : TRAIN_IMAGES + 2, 16, 16, 0].tolist() == [66, 77]
    assert np.array_equal(np.bincount(data.labels), [TRAIN_IMAGES + 2, TRAIN_IMAGES])
    told = describe_left_out(folder.parent)
    assert told.startswith(f"Left out of {folder.parent}, as neither PNG nor JPEG by their names: 2 .jp2, ")
    assert sorted(told.rstrip(".").split(": ")[1].split(", ")) == ["1 .txt", "1 no ending", "2 .jp2"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.webp", "is neither PNG nor JPEG"), ("x.TIF", "is neither PNG nor JPEG"), ("x", "is a folder")],
)
def test_pictures_that_would_be_left_out_are_named(tmp_path: Path, name: str, words: str) -> None:
    path = write_tiny_data(tmp_path, ("cat", "dog")) / "train" / "dog" / name
    if path.suffix:
        path.touch()
    else:
        path.mkdir()
    assert f"{path} {words}" in refusal(tmp_path)
    for picture in path.parent.glob("*.png"):
        picture.unlink()
    assert f"{path} {words}" in refusal(tmp_path)  # also where nothing else is left


def test_a_folder_that_cannot_be_looked_for_is_not_called_missing(tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize("content", [b"", b"not a picture", "truncated"])
def test_a_corrupt_picture_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = write_tiny_data(tmp_path, ("cat", "dog")) / "train" / "dog" / "017.png"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:500])
    assert str(path) in refusal(tmp_path)


def test_all_that_cannot_be_used_is_named_at_once_as_far_as_a_line_holds_it(tmp_path: Path) -> None:
    folder = write_tiny_data(tmp_path, ("cat", "dog")) / "train"
    pictures = [folder / "cat" / "003.png", *sorted((folder / "dog").iterdir())[:11]]
    for path in pictures:
        path.write_bytes(b"")
    line = refusal(tmp_path)
    assert [str(path) in line for path in pictures] == [True] * 10 + [False] * 2
    assert line.endswith("; and 2 more; replace or remove them.")
    for name in ("a.heic", "b.webp"):
        (folder / "dog" / name).touch()
    assert all(f"{folder / 'dog' / name} is neither PNG nor JPEG" in refusal(tmp_path) for name in ("a.heic", "b.webp"))


def test_a_picture_whose_note_confuses_the_decoder_is_named(tmp_path: Path) -> None:
    path = write_tiny_data(tmp_path, ("cat", "dog")) / "train" / "dog" / "004.png"
    written = path.read_bytes()
    profile = b"iCCP" + b"icc\0"  # and behind its name nothing, where Pillow looks for the kind of its compression
    chunk = struct.pack(">I", 4) + profile + struct.pack(">I", zlib.crc32(profile))
    path.write_bytes(written[:-12] + chunk + written[-12:])  # before IEND
    # In a process of its own: in one that has loaded the server, Pillow skips it.
    done = command("training.inspect", "--data", tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path} is not a readable picture (")


@pytest.mark.parametrize(
    ("side", "words"),
    [
        (13_378, "has too many pixels to be read (178970884, at most 178956970); shrink it; replace or remove it."),
        (10_000, "is not a readable picture (image file is truncated"),  # nor one of an attack, which Pillow warns of
    ],
)
def test_a_picture_that_is_too_large_to_read_is_named_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, words: str
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)  # which the server, if it was loaded here, took away
    path = write_tiny_data(tmp_path, ("cat", "dog")) / "train" / "dog" / "004.png"
    header = b"IHDR" + struct.pack(">II", side, side) + b"\x08\0\0\0\0"  # of grey levels
    written = path.read_bytes()
    path.write_bytes(written[:12] + header + struct.pack(">I", zlib.crc32(header)) + written[33:])
    assert f"{path} {words}" in refusal(tmp_path)


def test_only_the_first_process_shows_how_reading_goes_on(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def watched(done: Iterator[Any], *_: Any, disable: bool | None, **__: Any) -> Iterator[Any]:
        shown.append(disable)
        return done

    monkeypatch.setattr("tqdm.tqdm", watched)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        load_images(tiny_data, "test")
    assert shown == [None, True]  # None: on a terminal


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_hidden_folder_is_no_class(tmp_path: Path, split: str) -> None:
    (write_tiny_data(tmp_path, ("cat", "dog")) / split / ".ipynb_checkpoints").mkdir()
    assert load_images(tmp_path, "train").classes == ("cat", "dog")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_folder_that_one_split_lacks_is_named(tmp_path: Path, split: str) -> None:
    shutil.rmtree(write_tiny_data(tmp_path, ("cat", "dog", "eel")) / split / "dog")
    assert f"{tmp_path / split} has no folder dog" in refusal(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_tiny_data(tmp_path, ("cat", "dog"))
    for split in ("train", "test"):
        (tmp_path / split / "eel").mkdir()
    assert str(tmp_path / "train" / "eel") in refusal(tmp_path)


@pytest.mark.parametrize("classes", [(), ("cat",)])
def test_fewer_than_two_class_folders_are_refused(tmp_path: Path, classes: tuple[str, ...]) -> None:
    (write_tiny_data(tmp_path, classes) / "train").mkdir(exist_ok=True)
    assert f"{tmp_path / 'train'} holds {len(classes)} class folders" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["\udcc4pfel", "line\nbreak"])
def test_a_class_folder_whose_name_is_no_text_is_named(tmp_path: Path, name: str) -> None:
    assert f"has a folder {name!r}, which is no text" in refusal(write_tiny_data(tmp_path, ("cat", name)))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"")
    assert "is neither a folder of data nor" in refusal(tmp_path / "images.zip")


def refusal(root: Path) -> str:
    """The one line that answers the attempt to load what is in `root`."""
    with pytest.raises(InputError) as caught:
        load_images(root, "train", download=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)
