"""A look before training: `python -m training.inspect`."""

from pathlib import Path

import numpy as np
import pytest
from conftest import TRAIN_IMAGES, command
from PIL import Image

from cifar_models.cifar10 import LABELS

COLUMNS, ROWS = 8, 4
CELL_WIDTH, CELL_HEIGHT, PICTURE = 100, 114, 96  # pixels: a picture three times enlarged, and its caption


@pytest.fixture(scope="module")
def seen(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command prints of lenet, and the picture it writes."""
    samples = tmp_path_factory.mktemp("inspected") / "new" / "samples.png"
    done = command("training.inspect", "--data", tiny_data, "--model", "lenet", "--samples", samples)
    return done.stdout, samples


def test_every_label_has_its_count(seen: tuple[str, Path]) -> None:
    words = [line.split()[:2] for line in seen[0].splitlines()]
    assert words[: len(LABELS)] == [[name, str(TRAIN_IMAGES)] for name in LABELS]
    assert words[len(LABELS)] == ["all", str(TRAIN_IMAGES * len(LABELS))]


def test_the_picture_shows_samples_with_a_caption_each(seen: tuple[str, Path]) -> None:
    printed, samples = seen
    assert f"{COLUMNS * ROWS} of them: {samples}" in printed
    with Image.open(samples) as picture:
        assert picture.size == (COLUMNS * CELL_WIDTH, ROWS * CELL_HEIGHT)
        pixels = np.asarray(picture.convert("L"))
    cells = pixels.reshape(ROWS, CELL_HEIGHT, COLUMNS, CELL_WIDTH).swapaxes(1, 2).reshape(-1, CELL_HEIGHT, CELL_WIDTH)
    for cell in cells:
        assert cell[2:PICTURE].std() > 5  # noise around a colour
        assert (cell[PICTURE + 3 :] < 100).any()  # black letters
        assert (cell[PICTURE + 3 :] > 250).mean() > 0.5  # on white


def test_the_network_is_summarised_layer_by_layer(seen: tuple[str, Path]) -> None:
    printed = seen[0]
    assert "Total params: 62,006" in printed
    assert printed.count("Conv2d") == 2
    assert printed.count("Linear") == 3
    assert "[1, 6, 28, 28]" in printed  # the first layer's output
    assert "[1, 10]" in printed


def test_layers_are_shown_without_images(tmp_path: Path) -> None:
    options = ("--data", tmp_path / "none", "--samples", tmp_path / "samples.png")
    done = command("training.inspect", "--model", "alexnet_224", "--classes", "1000", *options)
    assert "Total params: 61,100,840" in done.stdout  # as published
    assert "[1, 1000]" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("classes", "words"), [("0", "'0' is no whole number"), ("1", "must be at least 2, got 1")])
def test_a_number_of_labels_that_cannot_be_is_refused_in_one_line(classes: str, words: str) -> None:
    done = command("training.inspect", "--classes", classes, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert words in line


def test_an_unknown_network_is_refused_in_one_line(tiny_data: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples.png"
    done = command("training.inspect", "--data", tiny_data, "--model", "lenett", "--samples", samples, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "Unknown model 'lenett'. Did you mean 'lenet'?" in line
    assert not samples.exists()


def test_of_few_images_no_more_are_promised_and_test_images_that_are_training_images_too_are_counted(
    tmp_path: Path,
) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(3):
                Image.new("RGB", (32, 32)).save(tmp_path / split / name / f"{index}.png")
        (tmp_path / split / "cat" / "photograph.nef").touch()
    samples = tmp_path / "samples.png"
    done = command("training.inspect", "--data", tmp_path, "--model", "lenet", "--samples", samples)
    assert f"\n6 of them: {samples}" in done.stdout
    assert "\n6 of the test images stand among the training images too" in done.stdout
    for split in ("train", "test"):
        assert f"\nLeft out of {tmp_path / split}, as neither PNG nor JPEG by their names: 1 .nef.\n" in done.stdout


def test_a_picture_without_a_name_is_an_error_in_one_line(tiny_data: Path) -> None:
    done = command("training.inspect", "--data", tiny_data, "--model", "lenet", "--samples", "", check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "'.' is no name of a file to write" in line


def test_a_picture_that_cannot_be_written_is_an_error_in_one_line(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    samples = tmp_path / "file" / "samples.png"
    done = command("training.inspect", "--data", tiny_data, "--model", "lenet", "--samples", samples, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{samples} cannot be written" in line
