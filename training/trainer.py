"""A step, an epoch and a validation of a training run, and the state that a resumed one needs."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError
from cifar_models.memory import enough_memory
from training.allocator import keep_freed_memory
from training.augment import Views, cut_out, draw_views, lay_out, take, views_per_epoch
from training.average import Average
from training.cutmix import mixed_loss, paste
from training.distillation import Teacher
from training.graph import GraphedStep
from training.model import build_model, has_batch_norm, wrap
from training.optimizer import build_optimizers, set_learning_rate, state_of
from training.precision import compute_dtype
from training.recipe import Recipe
from training.schedule import lr_factor
from training.world import World

ELSEWHERE = "in another folder (--out) if this one holds a checkpoint"  # whose recipe is kept
_VALIDATION_BATCH = 1000  # at most, and never more than a training batch


class Trainer:
    """A model, its optimizers and the data on one device; `epoch` and `step` count what is done."""

    def __init__(
        self,
        recipe: Recipe,
        training: ImageSet,
        validation: ImageSet,
        device: torch.device,
        world: World,
        teacher: Teacher | None = None,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.world = world
        self.teacher = teacher
        self.batch_size = self.share_of_batch(len(training))
        self.dtype = compute_dtype(recipe, device)
        if device.type == "cpu":
            keep_freed_memory()
        advice = "free some of it, or take another device or a smaller network"
        with enough_memory(f"{device} has no memory for the images and {recipe.model}; {advice}."):
            images, self.labels = on_device(training, device)
            self.images = lay_out(images, recipe.crop)
            self.validation_images, self.validation_labels = on_device(validation, device)
            torch.manual_seed(recipe.seed)
            self.model = build_model(recipe, training, device)
            if start is not None:
                self.model.load_state_dict(start)
            self.network = wrap(self.model.network, recipe, world)
            self.average = Average(self.model.network, recipe.ema) if recipe.ema else None
            self.optimizers = build_optimizers(self.model.network, recipe)
        self.check_batch()
        # Not where processes share a batch, as they wait for each other in the step, nor of what is compiled.
        can_be_graph = device.type == "cuda" and world.size == 1 and not recipe.compile
        self.graph = GraphedStep(self.optimizers, device) if can_be_graph else None
        self.validation_losses: list[float] = []
        self.epoch = 0
        self.step = 0  # of the epoch
        self.seconds = 0.0  # that the epoch had taken when it was stopped
        self.losses: list[Tensor] = []  # of the epoch's steps
        self.correct: list[Tensor] = []  # share of each step's images

    def enough_memory(self) -> AbstractContextManager[None]:
        """Around steps and validation: raises InputError when they do not fit, with the batch size to try."""
        batch_size = self.batch_size * self.world.size
        advice = f"try --batch-size {max(1, batch_size // 2)}, with half the learning rate, {ELSEWHERE}"
        return enough_memory(f"{self.device} has no memory for batches of {batch_size}; {advice}.")

    def share_of_batch(self, images: int) -> int:
        """This process's, of a batch of all `images` at most. Raises InputError when there are no equal shares."""
        asked, processes = self.recipe.batch_size, self.world.size
        if min(asked, images) % processes:
            what = f"batch_size is {asked}" if asked <= images else f"A batch of {asked} would be all {images} images"
            way_out = f"give a --batch-size that {processes} divides, of at most {images}"
            raise InputError(f"{what}, which {processes} processes cannot share equally; {way_out}.")
        return min(asked, images) // processes

    def check_batch(self) -> None:
        """Raises InputError for a batch that batch norm cannot be trained with: of one image there is no deviation."""
        if self.batch_size == 1 and has_batch_norm(self.model):
            raise InputError(
                f"{self.recipe.model} has batch norm, which needs at least two images in each process's batch; "
                f"--batch-size must be at least {2 * self.world.size}, got {self.recipe.batch_size}."
            )

    @property
    def steps_per_epoch(self) -> int:
        # What does not fill a batch waits for the next epoch's order.
        return views_per_epoch(self.recipe, len(self.labels)) // (self.batch_size * self.world.size)

    def lr_factor(self, epoch: int, step: int) -> float:
        """Share of the peak learning rates, both counted from 0."""
        return lr_factor(
            self.recipe,
            epoch=epoch,
            step=step,
            steps_per_epoch=self.steps_per_epoch,
            validation_losses=self.validation_losses,
        )

    def train_epoch(self) -> Iterator[Tensor]:
        """Train what is left of this epoch; yields each step's loss as a tensor that has not been waited for."""
        self.model.train()
        views = draw_views(self.recipe, len(self.labels), self.images.shape[2], self.epoch, self.device)
        partners = views.previous()
        while self.step < self.steps_per_epoch:
            start = (self.step * self.world.size + self.world.rank) * self.batch_size
            batch, partner = views.batch(start, self.batch_size), partners.batch(start, self.batch_size)
            set_learning_rate(self.optimizers, self.lr_factor(self.epoch, self.step))
            torch.manual_seed(step_seed(self.recipe.seed, self.epoch, self.step, self.world.rank))
            loss, correct = self.learn(batch, partner) if self.graph is None else self.graph(self.learn, batch, partner)
            if self.average is not None:
                self.average.n_averaged += 1  # here, as a graph repeats nothing of what the CPU does
            self.losses.append(loss)
            self.correct.append(correct)
            self.step += 1
            yield self.losses[-1]

    def learn(self, batch: Views, partner: Views) -> tuple[Tensor, Tensor]:
        """One step of all optimizers; returns what `loss` does."""
        loss, correct = self.loss(batch, partner)
        torch.autograd.backward(loss)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.follow(self.model.network)
        return loss.detach(), correct

    def loss(self, batch: Views, partner: Views) -> tuple[Tensor, Tensor]:
        """The loss to learn from, and the share of right labels (of images that are a mixture: of its first one)."""
        labels, pixels = self.labels[batch.index], take(self.images, batch)
        if self.recipe.cutmix:
            pixels = paste(pixels, take(self.images, partner), batch.patch)
        with self.autocast():
            x = self.model.preprocess(pixels)
            logits = self.network(cut_out(x, batch, self.recipe.cutout)).float()
            targets = None if self.teacher is None else self.teacher.targets(pixels, batch)
        loss = self.label_loss(logits, labels, batch, partner)
        if self.teacher is not None and targets is not None:
            loss = self.teacher.loss(logits, targets, loss)
        return loss, (logits.detach().argmax(1) == labels).float().mean()

    def label_loss(self, logits: Tensor, labels: Tensor, batch: Views, partner: Views) -> Tensor:
        smoothing = self.recipe.label_smoothing
        if not self.recipe.cutmix:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        others, size = self.labels[partner.index], self.images.shape[2]
        return mixed_loss(logits, labels, others, batch.patch, smoothing=smoothing, size=size)

    def agree(self) -> None:
        """Put the means over all processes in the place of this one's losses and shares."""
        means = self.world.mean(torch.stack([torch.stack(self.losses), torch.stack(self.correct)]))
        self.losses, self.correct = list(means[0]), list(means[1])

    def end_epoch(self) -> tuple[Tensor, Tensor]:
        """End the epoch: each step's loss and share of right labels over all processes, float32 [steps] on the CPU."""
        self.agree()
        losses, correct = torch.stack(self.losses).cpu(), torch.stack(self.correct).cpu()
        self.epoch, self.step, self.seconds, self.losses, self.correct = self.epoch + 1, 0, 0.0, [], []
        return losses, correct

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the running average where the recipe has one."""
        return self.model.network if self.average is None else self.average.module

    @torch.inference_mode()
    def validate(self) -> tuple[float, float]:
        """Mean cross entropy and accuracy on the held-out images, of the weights that are kept."""
        network = self.kept.eval()
        with self.autocast():
            parts = torch.split(self.validation_images, min(_VALIDATION_BATCH, self.batch_size))
            logits = torch.cat([network(self.model.preprocess(part)).float() for part in parts])
        loss = F.cross_entropy(logits, self.validation_labels)
        accuracy = (logits.argmax(1) == self.validation_labels).float().mean()
        return loss.item(), accuracy.item()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16)

    def weights(self) -> dict[str, Tensor]:
        """The state dict of a Classifier, on the CPU: the running average where the recipe keeps one."""
        return {f"network.{name}": value.detach().cpu().clone() for name, value in self.kept.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that goes on changing, for `restore`. What is drawn is drawn from the seed, the epoch and the step.

        The network is in `weights` already, but where these are an average of it.
        """
        return {
            "network": None if self.average is None else self.model.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": [state_of(optimizer) for optimizer in self.optimizers],
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "losses": [loss.item() for loss in self.losses],
            "correct": [share.item() for share in self.correct],
        }

    def restore(self, state: dict[str, Any], weights: dict[str, Tensor], validation_losses: Sequence[float]) -> None:
        """Go on where `state` and `weights` were taken, bit for bit on the CPU.

        Raises InputError when there is no memory for them.
        """
        advice = "free some of it, or take another device"
        with enough_memory(f"{self.device} has no memory to go on with {self.recipe.model}; {advice}."):
            if state["network"] is None:
                self.model.load_state_dict(weights)
            else:  # of an average, or of a run of before 2026-11-30, which kept it always
                self.model.network.load_state_dict(state["network"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        self.epoch, self.step = state["epoch"], state["step"]
        self.seconds = state.get("seconds", 0.0)  # which runs of before 2026-11-28 did not keep
        self.losses = [torch.tensor(loss, device=self.device) for loss in state["losses"]]
        self.correct = [torch.tensor(share, device=self.device) for share in state["correct"]]
        self.validation_losses = list(validation_losses)


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """The seed of a step's dropout: of its own in every process, and the same again in a resumed run."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)[0])


def on_device(data: ImageSet, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(data.images).to(device), torch.from_numpy(data.labels).to(device)
