"""The official files of CIFAR-10, whole or damaged, there or to be downloaded."""

import functools
import hashlib
import pickle
import shutil
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command
from test_image_folders import refusal
from torchvision.datasets import CIFAR10

from cifar_models.checkpoint import load_checkpoint
from cifar_models.cifar10 import LABELS
from cifar_models.dataset import ImageSet, Split, load_images
from cifar_models.errors import InputError
from training import fit

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
OFFLINE = "file:///nowhere"  # instead of the address of the archive
BATCHES: dict[Split, list[str]] = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


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


@pytest.mark.parametrize("module", ["fit", "inspect", "tune"])
def test_nothing_is_downloaded_into_a_folder_that_was_named_and_is_not_there(tmp_path: Path, module: str) -> None:
    """Its name may be misspelt, and the run would learn other images than it was meant to."""
    done = command(f"training.{module}", "--data", tmp_path / "shpaes", check=False)
    assert done.stderr.startswith(f"error: There are no data in {tmp_path / 'shpaes'}. Put ")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


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
