"""Look before training: python -m training.inspect [--data DIR] [--model NAME]: labels, sample pictures, layers.

With --classes N layers alone, and no images are read.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torchinfo import summary

from cifar_models.atomic import saving
from cifar_models.command import Parser, count, run_command
from cifar_models.dataset import ImageSet, describe_left_out, load_images
from cifar_models.registry import DEFAULT, create_model, find_model
from training.evaluation import describe_repeats
from training.options import DATA, may_download

_COLUMNS, _ROWS = 8, 4
_SCALE, _CAPTION = 3, 14  # times the pixels, and pixels of text under a picture


def main() -> None:
    parser = Parser(
        prog="python -m training.inspect",
        description="Show how many images each label has, a grid of samples with their names, and a network's layers.",
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images (default: data)")
    parser.add_argument("--model", default=DEFAULT, help=f"network to summarise (default: {DEFAULT})")
    parser.add_argument("--samples", type=Path, default=Path("runs/samples.png"), help="default: runs/samples.png")
    parser.add_argument("--classes", type=count, help="layers alone, for so many labels, without any images")
    options = parser.parse_args()
    find_model(options.model)
    print(layers(options.model, options.classes or show_images(options.data, options.samples)))


def show_images(folder: Path, samples: Path) -> int:
    """Print how many images each label has, and write the picture of samples; the number of labels."""
    data = load_images(folder, "train", download=may_download(folder))
    print(distribution(data))
    with saving(samples) as partial:
        sample_grid(data).save(partial, "PNG")
    print(f"\n{min(_ROWS * _COLUMNS, len(data))} of them: {samples}\n")
    if (folder / "test").is_dir():
        check_test(folder, data)
    for split in ("train", "test"):
        if left_out := describe_left_out(folder / split):
            print(left_out + "\n")
    return len(data.classes)


def check_test(folder: Path, training: ImageSet) -> None:
    """Read the test images, of which nothing is shown: a damaged one would stop the evaluation, after the training."""
    if repeats := load_images(folder, "test").count_in(training):
        print(describe_repeats("test", repeats) + "\n")


def layers(model: str, classes: int) -> str:
    """The network's layers for one image, as a table: the shape of each one's output, parameters, multiplications."""
    architecture = find_model(model)
    network = create_model(model, num_classes=classes)
    shape = (1, architecture.channels, architecture.size, architecture.size)
    columns = ("output_size", "num_params", "mult_adds")
    return str(summary(network, shape, col_names=columns, depth=4, verbose=0))


def distribution(data: ImageSet) -> str:
    """Images of each label, as lines."""
    counts = np.bincount(data.labels, minlength=len(data.classes))
    widest = max(map(len, data.classes))
    lines = [
        f"{name:{widest}} {count:6d}  {'#' * round(40 * count / counts.max())}"
        for name, count in zip(data.classes, counts, strict=True)
    ]
    return "\n".join([*lines, f"{'all':{widest}} {len(data):6d}"])


def sample_grid(data: ImageSet) -> Image.Image:
    """Some images, enlarged, each with the name of its label under it."""
    side = data.images.shape[1] * _SCALE
    grid = Image.new("RGB", (_COLUMNS * (side + 4), _ROWS * (side + _CAPTION + 4)), "white")
    draw = ImageDraw.Draw(grid)
    chosen = data.sample(_COLUMNS * _ROWS)
    for place, (image, label) in enumerate(zip(chosen.images, chosen.labels, strict=True)):
        x, y = place % _COLUMNS * (side + 4) + 2, place // _COLUMNS * (side + _CAPTION + 4) + 2
        picture = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
        grid.paste(picture, (x, y))
        draw.text((x, y + side), data.classes[label], fill="black")
    return grid


if __name__ == "__main__":
    run_command(main)
