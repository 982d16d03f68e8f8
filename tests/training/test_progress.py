"""What somebody sees who watches a run: a bar on a terminal, one plain line for each epoch elsewhere."""

import fcntl
import os
import pty
import re
import struct
import termios
from pathlib import Path

from commands import Command
from conftest import ROOT, command
from small_runs import SMALL

# An epoch takes longer than the bar waits between two looks at the loss.
RECIPE = ("training.fit", "--model", "resnet20", "--device", "cpu", "--precision", "fp32", "--batch-size", "2")
OPTIONS = ("--validation", "0.2", "--epochs", "1", "--data")


def test_a_terminal_shows_rate_remaining_time_and_the_current_figures(tiny_data: Path, tmp_path: Path) -> None:
    shown = on_a_terminal(*RECIPE, *OPTIONS, tiny_data, "--out", tmp_path / "run")
    frames = [frame for frame in re.split(r"[\r\n]+", shown) if frame.startswith("epoch 1/1")]
    pattern = (
        r"epoch 1/1: +\d+%\|.*\| \d+/160 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ img/s, "
        r"loss \d+\.\d{3}, accuracy \d+\.\d%, lr \d\.\de[-+]\d\d\]"
    )
    assert any(re.fullmatch(pattern, frame.rstrip()) for frame in frames), frames[-3:]


def test_elsewhere_each_epoch_is_one_line(tiny_data: Path, tmp_path: Path) -> None:
    done = command(*RECIPE, *OPTIONS, tiny_data, "--out", tmp_path / "run")
    assert done.stderr == ""
    epochs = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 1
    assert re.fullmatch(
        r"epoch   1   lr \S+   train loss \S+ accuracy \S+%   validation loss \S+ accuracy \S+%   \S+ s", epochs[0]
    )


def test_a_run_says_what_it_is_about_to_do_and_how_long_the_rest_takes(tiny_data: Path, tmp_path: Path) -> None:
    line = (*SMALL, "--precision", "fp32", "--epochs", "3", "--data", tiny_data, "--out", tmp_path / "run")
    first, *epochs = command("training.fit", *line).stdout.split("\n\n")[0].splitlines()
    assert first == (
        "lenet, 62,006 parameters: 3 epochs of 160 images of 10 labels, 40 more to choose by; on cpu in float32; "
        f"run in {tmp_path / 'run'}"
    )
    assert [bool(re.search(r" s   0:\d\d:\d\d left$", epoch)) for epoch in epochs] == [True, True, False]


def on_a_terminal(*arguments: str | Path) -> str:
    """What the command writes to a terminal of 160 columns that is its stderr."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    module, *options = map(str, arguments)
    with (
        Path(os.devnull).open("w") as nobody,
        Command(module, options, folder=ROOT, stdout=nobody, stderr=its) as process,
    ):
        os.close(its)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # Linux says so that the other side is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    return written.decode()
