"""The training loop: one epoch, one validation, and the state that a resumed run needs."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_models.cifarnet import CifarNet
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from training.augment import cut_out, draw_views, take
from training.optimizer import build_optimizers, lr_factor, set_learning_rate
from training.recipe import Recipe

_WHITENING_IMAGES = 5000
_VALIDATION_BATCH = 1000


class Trainer:
    """A model, its optimizers and the data on one device. `epoch` counts the epochs that are done."""

    def __init__(self, recipe: Recipe, training: ImageSet, validation: ImageSet, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        self.dtype = compute_dtype(recipe, device)
        self.images, self.labels = on_device(training, device)
        self.validation_images, self.validation_labels = on_device(validation, device)
        self.model = Classifier(recipe.model, num_classes=len(training.classes))
        if isinstance(self.model.network, CifarNet):
            self.model.network.whiten(self.model.preprocess(self.images[:_WHITENING_IMAGES].cpu()))
        self.model.to(device).to(memory_format=torch.channels_last)
        self.optimizers = build_optimizers(self.model.network, recipe)
        self.batch_size = min(recipe.batch_size, len(training))
        self.epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        return len(self.labels) // self.batch_size  # what does not fill a batch waits for the next epoch's order

    def train_epoch(self) -> Iterator[Tensor]:
        """Train one epoch; yields each step's loss as a tensor that has not been waited for."""
        self.model.train()
        views = draw_views(self.recipe, len(self.labels), self.images.shape[1], self.epoch, self.device)
        total_steps = self.recipe.epochs * self.steps_per_epoch
        for step in range(self.steps_per_epoch):
            batch = views.batch(step * self.batch_size, self.batch_size)
            position = self.epoch * self.steps_per_epoch + step
            set_learning_rate(self.optimizers, lr_factor(position, total_steps=total_steps, warmup=self.recipe.warmup))
            images = take(self.images, batch)
            with self.autocast():
                x = self.model.preprocess(images)
                logits = self.model.network(cut_out(x, batch, self.recipe.cutout) if self.recipe.cutout else x)
            loss = F.cross_entropy(
                logits.float(), self.labels[batch.index], label_smoothing=self.recipe.label_smoothing
            )
            torch.autograd.backward(loss)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            yield loss.detach()
        self.epoch += 1

    @torch.inference_mode()
    def validate(self) -> tuple[float, float]:
        """Mean cross entropy and accuracy on the held-out images."""
        self.model.eval()
        with self.autocast():
            logits = torch.cat(
                [self.model.logits(part) for part in torch.split(self.validation_images, _VALIDATION_BATCH)]
            )
        loss = F.cross_entropy(logits, self.validation_labels)
        accuracy = (logits.argmax(1) == self.validation_labels).float().mean()
        return loss.item(), accuracy.item()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16)

    def state(self) -> dict[str, Any]:
        state = {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers], "rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state()
        return state

    def restore(self, epoch: int, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.epoch = epoch
        self.model.load_state_dict(weights)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"])


def on_device(data: ImageSet, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(data.images).to(device), torch.from_numpy(data.labels).to(device)


def compute_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies in it (a CPU without would be many times slower), else float32."""
    if recipe.precision != "auto":
        return torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32
