"""Image folders and the official files become the same labelled images; what cannot be used is refused in one line."""

import functools
import hashlib
import pickle
import shutil
import struct
import tarfile
import threading
import zlib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEST_IMAGES, TRAIN_IMAGES, command, tiny_images, write_tiny_data
from PIL import Image
from torchvision.datasets import CIFAR10

from cifar_models.checkpoint import load_checkpoint
from cifar_models.cifar10 import LABELS
from cifar_models.dataset import ImageSet, Split, load_images, split_validation
from cifar_models.errors import InputError
from training import fit

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
OFFLINE = "file:///nowhere"  # instead of the address of the archive
BATCHES: dict[Split, list[str]] = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


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
    (folder / "notes.txt").write_text("no picture")
    (folder / "._000.png").write_bytes(b"what macOS knows of 000.png")
    (folder.parent / "README.md").write_text("no class")
    data = load_images(tmp_path, "train")
    assert np.array_equal(data.images[:TRAIN_IMAGES], tiny_images(0, TRAIN_IMAGES, 1))
    assert data.images[TRAIN_IMAGES : TRAIN_IMAGES + 2, 16, 16, 0].tolist() == [66, 77]
    assert np.array_equal(np.bincount(data.labels), [TRAIN_IMAGES + 2, TRAIN_IMAGES])


def test_a_folder_that_cannot_be_looked_for_is_not_called_missing(tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize("content", [b"", b"not a picture", "truncated"])
def test_a_corrupt_picture_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = write_tiny_data(tmp_path, ("cat", "dog")) / "train" / "dog" / "017.png"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:500])
    assert str(path) in refusal(tmp_path)


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


@pytest.mark.parametrize("split", BATCHES)
@pytest.mark.parametrize(("kept", "given"), [(FOLDER, ""), (FOLDER, FOLDER), (ARCHIVE, ""), (ARCHIVE, ARCHIVE)])
def test_the_official_folder_or_archive_gives_its_images_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str, given: str, split: Split
) -> None:
    expected = write_official(tmp_path / "written", monkeypatch)[split]
    (tmp_path / "written" / kept).rename(tmp_path / kept)
    assert same(load_images(tmp_path / given, split), expected)


@pytest.mark.parametrize(("given", "name"), [("official", "CIFAR-10"), (FOLDER, "CIFAR-10"), ("own", "images in own")])
def test_a_run_names_the_official_images_by_their_name_and_others_by_their_folder(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, name: str
) -> None:
    write_official(tmp_path / "official", monkeypatch)
    (tmp_path / "own").symlink_to(tiny_data)
    data = tmp_path / "official" / FOLDER if given == FOLDER else tmp_path / given
    options = ("--model", "lenet", "--epochs", "1", "--batch-size", "10", "--validation", "0.5", "--device", "cpu")
    monkeypatch.setattr("sys.argv", ["fit", *options, "--data", str(data), "--out", str(tmp_path / "run")])
    fit.main()
    assert load_checkpoint(tmp_path / "run" / "best.pt").data_name == name


def test_the_archive_is_downloaded_where_there_are_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write_official(tmp_path, monkeypatch)["train"]
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
        monkeypatch.setenv("no_proxy", "*")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        data = load_images(tmp_path / "new" / "data", "train", download=True)
        server.shutdown()
    assert same(data, expected)


def test_missing_data_are_answered_with_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", OFFLINE)
    message = refusal(tmp_path)
    assert all(words in message for words in (str(tmp_path), FOLDER, ARCHIVE, "train/<class>/*.png", "--data"))


@pytest.mark.parametrize("found", ["1.png", "cat/1.png", "Train/cat/1.png"])
def test_nothing_is_downloaded_into_a_folder_of_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(CIFAR10, "url", OFFLINE)
    (tmp_path / found).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / found).touch()
    assert f"There are no data in {tmp_path}. Put " in refusal(tmp_path)


def test_a_damaged_folder_beside_a_whole_archive_is_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write_official(tmp_path, monkeypatch)["train"]
    (tmp_path / FOLDER / "data_batch_2").unlink()
    assert same(load_images(tmp_path, "train"), expected)


def test_a_damaged_folder_is_not_mended_from_afar_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_official(tmp_path, monkeypatch)
    monkeypatch.setattr(CIFAR10, "url", OFFLINE)
    (tmp_path / ARCHIVE).unlink()
    (tmp_path / FOLDER / "data_batch_2").unlink()
    with pytest.raises(InputError, match="No usable data") as error:
        load_images(tmp_path, "train")
    assert f"missing or corrupted (by their md5). Put a whole {FOLDER}/ or {ARCHIVE} there" in str(error.value)
    assert "download=True" not in str(error.value)
    assert "urlopen" not in str(error.value)
    assert "urlopen" in refusal(tmp_path)


def test_nothing_is_downloaded_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no data in"):
        load_images(tmp_path / "typo", "train")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("name", ["\udcc4pfel", "line\nbreak"])
def test_a_class_folder_whose_name_is_no_text_is_named(tmp_path: Path, name: str) -> None:
    assert f"has a folder {name!r}, which is no text" in refusal(write_tiny_data(tmp_path, ("cat", name)))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"")
    assert "is neither a folder of data nor" in refusal(tmp_path / "images.zip")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_file_with_the_wrong_md5_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_official(tmp_path, monkeypatch)
    (tmp_path / ARCHIVE).unlink()
    trap = b"cos\nmkdir\n(V%b\ntR." % bytes(tmp_path / "sprung")  # calls os.mkdir when it is unpickled
    (tmp_path / FOLDER / name).write_bytes(trap)
    assert FOLDER in refusal(tmp_path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(trap)
    assert (tmp_path / "sprung").exists()  # it would have been noticed


def test_an_archive_with_the_wrong_md5_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_official(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / FOLDER)
    (tmp_path / ARCHIVE).write_bytes((tmp_path / ARCHIVE).read_bytes() + b"more")
    assert ARCHIVE in refusal(tmp_path)
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_validation_split_takes_its_share_of_every_class(share: float) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [400, 100, 40]))
    training, validation = split_validation(labelled(labels), share, seed=0)
    assert np.array_equal(np.bincount(labels[validation]), [400 * share, 100 * share, 40 * share])
    assert np.array_equal(np.sort(np.concatenate([training, validation])), np.arange(540))


def test_the_validation_split_depends_on_the_seed_alone() -> None:
    labels = np.repeat(np.arange(10), 50)
    first, again, other = (split_validation(labelled(labels), 0.2, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_too_small_to_be_split_is_named() -> None:
    with pytest.raises(InputError, match=r"validation=0\.1 would hold out 0 of the 4 images of 'automobile', and"):
        split_validation(labelled(np.repeat([0, 1, 2], [40, 4, 40])), 0.1, seed=0)


def labelled(labels: np.ndarray) -> ImageSet:
    return ImageSet(np.zeros((len(labels), 32, 32, 3), np.uint8), labels, LABELS)


def test_a_sample_of_sorted_images_has_all_labels_and_is_always_the_same(tiny_data: Path) -> None:
    data = load_images(tiny_data, "train")
    sample = data.sample(100)
    assert np.bincount(sample.labels, minlength=10).min() > 0
    assert len({image.tobytes() for image in sample.images}) == 100
    assert sample.fingerprint() == load_images(tiny_data, "train").sample(100).fingerprint()
    assert len(data.sample(1000)) == len(data)


def test_the_fingerprint_is_that_of_pixels_labels_and_classes() -> None:
    images, labels = tiny_images(0, 6, 1), np.array([0, 1, 2] * 2)
    one_pixel, one_label = images.copy(), labels.copy()
    one_pixel[5, 31, 31, 2] ^= 1
    one_label[5] = 0
    data = ImageSet(images, labels, ("a", "b", "c"))
    others = [
        ImageSet(one_pixel, labels, data.classes),
        ImageSet(images, one_label, data.classes),
        ImageSet(images, labels, ("a", "b", "d")),
        data.subset(np.array([1, 0, 2, 3, 4, 5])),
        data.subset(np.arange(5)),
    ]
    assert data.subset(np.arange(6)).fingerprint() == data.fingerprint()
    assert len({other.fingerprint() for other in [data, *others]}) == 6


def write_official(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Split, ImageSet]:
    """Write small files of the official format, folder and archive, and have torchvision accept their md5 alone."""
    generator = np.random.default_rng(0)
    written: dict[Split, ImageSet] = {}
    for split, names in BATCHES.items():
        images = generator.integers(0, 256, (len(names), 4, 32, 32, 3), dtype=np.uint8)
        labels = np.arange(len(names) * 4).reshape(-1, 4) % 10
        rows = images.transpose(0, 1, 4, 2, 3).reshape(len(names), 4, 3072)  # a plane of red, then green, then blue
        for name, data, of_batch in zip(names, rows, labels, strict=True):
            write_pickle(root / FOLDER / name, {"data": data, "labels": of_batch.tolist()})
        monkeypatch.setattr(CIFAR10, f"{split}_list", [[name, md5(root / FOLDER / name)] for name in names])
        written[split] = ImageSet(images.reshape(-1, 32, 32, 3), labels.reshape(-1), LABELS)
    write_pickle(root / FOLDER / "batches.meta", {"label_names": list(LABELS)})
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(root / FOLDER / "batches.meta")})
    with tarfile.open(root / ARCHIVE, "w:gz") as archive:
        archive.add(root / FOLDER, FOLDER)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(root / ARCHIVE))
    monkeypatch.setattr(CIFAR10, "url", OFFLINE)
    return written


def write_pickle(path: Path, content: dict[str, Any]) -> None:
    # Python 2 wrote the real ones; torchvision reads their keys as text, so text keys are the same to it.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def same(one: ImageSet, other: ImageSet) -> bool:
    return one.classes == other.classes and one.fingerprint() == other.fingerprint()


def refusal(root: Path) -> str:
    """The one line that answers the attempt to load what is in `root`."""
    with pytest.raises(InputError) as caught:
        load_images(root, "train", download=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)
