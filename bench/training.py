"""Our training loop beside a plain PyTorch one: python -m bench.training [--data DIR].

The plain one is what the tutorials have: torchvision's transforms on PIL images in a DataLoader with two workers,
float32, SGD. All are timed in turn, several times, and the ratio of the medians counts: the machine may be busy.

Both loaders deliver the same: batches of 128 with their labels, cropped and flipped, as pixels (uint8) in one row and
normalised (float32) in the next. Of ours, laying out the data is left out, as a run does it once; drawing an epoch's
views is not, and neither is starting the workers of the plain one, as both are done for each epoch.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.output import output, write_figures
from bench.serving.machine import describe_machine
from cifar_models.cifar10 import IMAGE_SIZE, MEAN, STD
from cifar_models.classifier import Preprocess
from cifar_models.command import Parser, count, run_command
from cifar_models.dataset import ImageSet, load_images
from cifar_models.registry import create_model
from training.augment import draw_views, lay_out, take
from training.options import DATA, may_download
from training.recipe import Recipe
from training.trainer import Trainer
from training.world import World

RECIPE = Recipe(model="resnet20", epochs=1, batch_size=128, lr=0.1, crop=4, flip="random", validation=0.1)
_CPU = torch.device("cpu")
_AUGMENT = (
    transforms.RandomCrop(IMAGE_SIZE, padding=RECIPE.crop, padding_mode="reflect"),
    transforms.RandomHorizontalFlip(),
)
_TO_PIXELS = transforms.Compose([*_AUGMENT, transforms.PILToTensor()])
_TO_NORMALISED = transforms.Compose([*_AUGMENT, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """What torchvision's CIFAR10 does for each image."""

    def __init__(self, data: ImageSet, transform: transforms.Compose) -> None:
        self._data = data
        self._transform = transform

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(Image.fromarray(self._data.images[index])), int(self._data.labels[index])


def main() -> None:
    parser = Parser(prog="python -m bench.training", description="Our training loop and a plain one.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--images",
        type=count,
        default=20_000,
        help="images of each pass, as far as they fill batches (default: 20,000)",
    )
    parser.add_argument("--rounds", type=count, default=3, help="passes of each kind (default: 3)")
    parser.add_argument("--json", type=output, help="also write what is printed to this file")
    options = parser.parse_args()
    machine = describe_machine()  # first of all, as it states the load
    data = whole_batches(load_images(options.data, "train", download=may_download(options.data)).sample(options.images))
    loading_pixels = {"ours": ours(data), "plain": plain(data, _TO_PIXELS)}
    loading_normalised = {
        "ours": ours(data, Preprocess(MEAN, STD, channels=3, size=IMAGE_SIZE)),
        "plain": plain(data, _TO_NORMALISED),
    }
    epochs = {"ours, bf16": trainer_of(data, "bf16"), "ours": trainer_of(data, "fp32"), "plain": plain_trainer_of(data)}
    report = {
        "machine": machine,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "images": len(data),
        "loading pixels": compare(loading_pixels, options.rounds, len(data)),
        "loading normalised": compare(loading_normalised, options.rounds, len(data)),
        "resnet20 epoch": compare(epochs, options.rounds, len(data)),
    }
    print(json.dumps(report, indent=2))
    if options.json:
        write_figures(report, options.json)


def whole_batches(data: ImageSet) -> ImageSet:
    """As many of the images as fill batches: our loop leaves out what does not, and the plain one does not."""
    batch = min(RECIPE.batch_size, len(data))
    return data.sample(len(data) // batch * batch)


def compare(passes: dict[str, Callable[[], None]], rounds: int, images: int) -> dict[str, dict[str, float]]:
    """Images per second of each kind of pass, and how many times as fast as the plain one it is."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, run in passes.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    rates = {name: images / statistics.median(values) for name, values in seconds.items()}
    return {name: {"images per second": rate, "ratio": rate / rates["plain"]} for name, rate in rates.items()}


def ours(data: ImageSet, finish: Callable[[torch.Tensor], torch.Tensor] = lambda pixels: pixels) -> Callable[[], None]:
    planes, labels = lay_out(torch.from_numpy(data.images), RECIPE.crop), torch.from_numpy(data.labels)

    def epoch() -> None:
        views = draw_views(RECIPE, len(data), IMAGE_SIZE, 0, _CPU)
        for start in range(0, len(data), RECIPE.batch_size):
            batch = views.batch(start, RECIPE.batch_size)
            finish(take(planes, batch)), labels[batch.index]

    return epoch


def plain(data: ImageSet, transform: transforms.Compose) -> Callable[[], None]:
    def epoch() -> None:
        for _ in loader(data, transform):
            pass

    return epoch


def loader(data: ImageSet, transform: transforms.Compose) -> DataLoader[tuple[torch.Tensor, int]]:
    return DataLoader(Pictures(data, transform), RECIPE.batch_size, shuffle=True, num_workers=2)


def trainer_of(data: ImageSet, precision: Literal["bf16", "fp32"]) -> Callable[[], None]:
    def epoch() -> None:
        recipe = replace(RECIPE, precision=precision)
        trainer = Trainer(recipe, data, data.sample(1), _CPU, World())
        for _ in trainer.train_epoch():
            pass

    return epoch


def plain_trainer_of(data: ImageSet) -> Callable[[], None]:
    def epoch() -> None:
        model = create_model(RECIPE.model, num_classes=len(data.classes)).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=RECIPE.lr, momentum=RECIPE.momentum)
        for images, labels in loader(data, _TO_NORMALISED):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()

    return epoch


if __name__ == "__main__":
    run_command(main)
