"""Our training loop beside a plain PyTorch one: python -m bench.training [--data DIR].

The plain one is what the tutorials have: torchvision's transforms on PIL images in a DataLoader with two workers,
float32, SGD. Both are timed in turn, several times, and the ratio of the medians counts: the machine may be busy.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifar_models.cifar10 import MEAN, STD
from cifar_models.dataset import ImageSet, load_images, split_validation
from cifar_models.errors import run_command
from cifar_models.registry import create_model
from training.augment import draw_views, pack, take
from training.recipe import Recipe
from training.trainer import Trainer
from training.world import World

RECIPE = Recipe(model="resnet20", epochs=1, batch_size=128, lr=0.1, crop=4, flip="random", validation=0.1)
_TRANSFORMS = transforms.Compose(
    [
        transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """What torchvision's CIFAR10 does for each image."""

    def __init__(self, data: ImageSet) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return _TRANSFORMS(Image.fromarray(self._data.images[index])), int(self._data.labels[index])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training", description="Our training loop and a plain one.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--images", type=int, default=20_000, help="images of each pass (default: 20,000)")
    parser.add_argument("--rounds", type=int, default=3, help="passes of each kind (default: 3)")
    options = parser.parse_args()
    data = load_images(options.data, "train")
    chosen, _ = split_validation(data.labels, 1 - options.images / len(data), seed=0)
    data = data.subset(chosen)
    report = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "images": len(data),
        "loading": compare(lambda: load_ours(data), lambda: load_plain(data), options.rounds, len(data)),
        "resnet20 epoch": compare(trainer_of(data), plain_trainer_of(data), options.rounds, len(data)),
    }
    print(json.dumps(report, indent=2))


def compare(ours: Callable[[], object], plain: Callable[[], object], rounds: int, images: int) -> dict[str, float]:
    """Images per second of both, and how many times faster ours is."""
    seconds = {"ours": [], "plain": []}  # type: dict[str, list[float]]
    for _ in range(rounds):
        for name, run in (("ours", ours), ("plain", plain)):
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    rates = {name: images / statistics.median(values) for name, values in seconds.items()}
    return {**rates, "ratio": rates["ours"] / rates["plain"]}


def load_ours(data: ImageSet) -> None:
    """An epoch of batches, drawing the views and moving the data into place included."""
    packed = pack(torch.from_numpy(data.images))
    views = draw_views(RECIPE, len(data), 32, 0, torch.device("cpu"))
    for start in range(0, len(data), RECIPE.batch_size):
        take(packed, views.batch(start, RECIPE.batch_size))


def load_plain(data: ImageSet) -> None:
    for _ in loader(data):
        pass


def loader(data: ImageSet) -> DataLoader[tuple[torch.Tensor, int]]:
    return DataLoader(Pictures(data), RECIPE.batch_size, shuffle=True, num_workers=2, drop_last=True)


def trainer_of(data: ImageSet) -> Callable[[], object]:
    def epoch() -> None:
        trainer = Trainer(RECIPE, data, data.subset(data.labels[:1]), torch.device("cpu"), World())
        for _ in trainer.train_epoch():
            pass

    return epoch


def plain_trainer_of(data: ImageSet) -> Callable[[], object]:
    def epoch() -> None:
        model = create_model("resnet20").train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for images, labels in loader(data):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()

    return epoch


if __name__ == "__main__":
    run_command(main)
