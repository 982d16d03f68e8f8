"""What TensorBoard shows of a run, under the tags of the tutorials where a recipe asks for them."""

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cifar_models.dataset import ImageSet
from training.run import EpochMetrics, Run
from training.trainer import Trainer
from training.world import World

_SAMPLES = 32
# Tag by tag as the tutorials name them; what a tutorial does not show is shown under the plain tag.
_PLAIN = {
    "step_loss": "step/loss",
    "step_accuracy": "step/accuracy",
    "train_loss": "epoch/train_loss",
    "train_accuracy": "epoch/train_accuracy",
    "validation_loss": "epoch/validation_loss",
    "validation_accuracy": "epoch/validation_accuracy",
    "lr": "epoch/lr",
}
_TAGS: dict[str, dict[str, str]] = {
    "plain": _PLAIN,
    "seed000": {
        **_PLAIN,
        "step_loss": "Train_Log/Loss",
        "step_accuracy": "Train_Log/Accuracy",
        "train_loss": "Episode_Log/Train_Loss",
        "train_accuracy": "Episode_Log/Train_Acc",
        "validation_loss": "Episode_Log/Valid_Loss",
        "validation_accuracy": "Episode_Log/Valid_Acc",
        "lr": "lr",
    },
    "seed003": {
        **_PLAIN,
        "step_loss": "running_loss",
        "step_accuracy": "train batch acc",
        "validation_accuracy": "validation acc",  # the tutorial's "test acc" was of the images it chose by
    },
    "seed004": {
        **_PLAIN,
        "train_loss": "Train Loss",
        "validation_loss": "Valid Loss",
        "validation_accuracy": "Valid Accuracy",
    },
}


class Board:
    """Writes the events of a run, from its first epoch on; of the first process only."""

    def __init__(self, run: Run, world: World) -> None:
        self._run = run
        self._is_first = world.is_first
        self._tags = _TAGS[run.recipe.tensorboard]
        self._open: SummaryWriter | None = None

    @property
    def _writer(self) -> SummaryWriter:
        if self._open is None:
            self._open = SummaryWriter(str(self._run.folder / "tensorboard"))
            write_samples(self._open, self._run.data)
        return self._open

    def write_epoch(self, metrics: EpochMetrics, losses: Tensor, accuracies: Tensor, trainer: Trainer) -> None:
        """Every step of an epoch at the number of images shown by then, the epoch's metrics, and all weights."""
        if not self._is_first:
            return
        for step, (loss, accuracy) in enumerate(zip(losses.tolist(), accuracies.tolist(), strict=True)):
            shown = ((metrics.epoch - 1) * len(losses) + step + 1) * trainer.batch_size * trainer.world.size
            self._writer.add_scalar(self._tags["step_loss"], loss, shown)
            self._writer.add_scalar(self._tags["step_accuracy"], accuracy, shown)
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr"):
            self._writer.add_scalar(self._tags[name], getattr(metrics, name), metrics.epoch)
        for name, parameter in trainer.model.network.named_parameters():
            self._writer.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), metrics.epoch)
        self._writer.flush()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


def write_samples(writer: SummaryWriter, data: ImageSet) -> None:
    """A grid of training images, and their labels in the same order."""
    chosen = np.random.default_rng(0).permutation(len(data))[:_SAMPLES]
    writer.add_images("samples", data.images[chosen], 0, dataformats="NHWC")
    writer.add_text("samples", ", ".join(data.classes[label] for label in data.labels[chosen]), 0)
