"""A network that learns from trained ones, by the command, and the teachers that it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import command
from small_runs import refusal
from torch.nn.functional import cross_entropy, kl_div

from cifar_models.checkpoint import load_checkpoint
from cifar_models.dataset import load_images
from training.distillation import Teacher
from training.recipes import RECIPES

STUDENT = ("--model", "lenet", "--device", "cpu", "--batch-size", "50", "--validation", "0.2", "--epochs", "1")


def test_a_network_learns_its_teachers_answers_without_a_label(tiny_data: Path, tmp_path: Path) -> None:
    """With the labels' share at 0, what is right is what the teacher says."""
    teacher = tmp_path / "teacher" / "best.pt"
    command("training.fit", *STUDENT, "--epochs", "20", "--data", tiny_data, "--out", teacher.parent)
    lessons = ("--epochs", "40", "--teachers", teacher, "--teacher-weight", "1", "--teacher-temperature", "1")
    command("training.fit", *STUDENT, *lessons, "--data", tiny_data, "--out", tmp_path / "run")
    student = load_checkpoint(tmp_path / "run" / "best.pt")
    images = torch.from_numpy(load_images(tiny_data, "test").images)
    with torch.inference_mode():
        said, learned = load_checkpoint(teacher).classifier()(images)[1], student.classifier()(images)[1]
    assert student.recipe["teachers"] == str(teacher)
    assert (said.argmax(1) == learned.argmax(1)).float().mean() > 0.5  # by chance: 0.1


def test_the_loss_is_the_divergence_from_the_mean_of_the_teachers(tiny_run: Path) -> None:
    recipe = RECIPES["cifarnet"]
    classifiers = [load_checkpoint(tiny_run / name).classifier() for name in ("best.pt", "last.pt")]
    teacher = Teacher(classifiers, recipe, torch.device("cpu"))
    logits, labels = torch.randn(4, 10), torch.tensor([0, 1, 2, 3])
    targets = torch.softmax(torch.randn(4, 10), dim=1)
    expected = 0.1 * cross_entropy(logits, labels)
    expected += 0.9 * 16 * kl_div((logits / 4).log_softmax(1), targets, reduction="batchmean")
    assert torch.allclose(teacher.loss(logits, targets, cross_entropy(logits, labels)), expected)


def test_a_run_does_not_go_on_with_another_teacher(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    shutil.copy(tiny_run / "best.pt", teacher)
    line = (*STUDENT, "--teachers", teacher, "--data", tiny_data)
    command("training.fit", *line, "--out", tmp_path / "run")
    command("training.fit", *line, "--out", tmp_path / "run", "--resume")
    replace(load_checkpoint(teacher), data_name="trained anew").save(teacher)
    words = f"{teacher} is not what {tmp_path / 'run'} learned from any more"
    assert words in refusal(tmp_path / "run", *line, "--resume")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--seed", "1"), "holds out"),
        (("--validation", "0.4"), "holds out"),
        (("--teacher-weight", "1.1"), "teacher_weight"),
        (("--teacher-temperature", "0"), "teacher_temperature"),
        (("--teachers", "nowhere.pt"), "nowhere.pt"),
        (("--teachers", "x" * 300), "cannot be read (File name too long)"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    line = (*STUDENT, "--teachers", str(tiny_run / "best.pt"), *options, "--data", str(tiny_data))
    assert words in refusal(tmp_path / "run", *line)
    assert not (tmp_path / "run").exists()
