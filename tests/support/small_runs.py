"""Small training runs by the command: one that is whole, one that is killed; and what a run folder holds."""

import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import command, make_once, started, tiny_images
from torch.testing import assert_close

from cifar_models.checkpoint import Checkpoint
from cifar_models.cifar10 import LABELS
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError
from training import fit

EPOCHS = 20
SMALL = ("--model", "lenet", "--device", "cpu", "--batch-size", "25", "--validation", "0.2")
RECIPE = (*SMALL, "--epochs", str(EPOCHS))


def few_images(of_each: int, *, seed: int) -> ImageSet:
    images = np.concatenate([tiny_images(label, of_each, seed) for label in range(len(LABELS))])
    return ImageSet(images, np.repeat(np.arange(len(LABELS), dtype=np.int64), of_each), LABELS)


def too_large(*_: object, **__: object) -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")  # torch's own


def kill_after_an_epoch(*options: str | Path) -> None:
    with started("training.fit", *options) as process:
        assert any(output.startswith("epoch   1 ") for output in process.stdout)
        process.send_signal(signal.SIGKILL)


def refusal(folder: Path, *options: str | Path) -> str:
    """The one line with which the command refuses; whatever the run folder holds stays as it is.

    It runs in this process, which spares loading torch.
    """
    before = contents(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fit", *map(str, options), "--out", str(folder)])
        with pytest.raises(InputError) as error:
            fit.main()
    assert contents(folder) == before
    (line,) = str(error.value).splitlines()
    return line


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    """Bit for bit, but for the seconds that it took."""
    for left, right in zip(one.history, other.history, strict=True):
        assert {**left, "seconds": 0} == {**right, "seconds": 0}
    assert_close(one.weights, other.weights, rtol=0, atol=0)
    assert_close(one.training_state, other.training_state, rtol=0, atol=0)


def whole_run(shared: Path, tiny_data: Path) -> Path:
    """A run of a small network that nothing interrupted."""
    line = ("training.fit", *RECIPE, "--data", tiny_data)
    return make_once(shared / "runs" / "whole", lambda folder: command(*line, "--out", folder))
