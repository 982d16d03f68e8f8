"""Train one model by a recipe: python -m training.fit [RECIPE] [--data DIR] [--resume] [--FIELD VALUE ...]."""

import argparse
import os
import re
import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from traceback import clear_frames

import torch

from cifar_models.command import Parser, complain, run_command, say
from cifar_models.dataset import default_name, describe_left_out, load_images
from cifar_models.errors import InputError
from cifar_models.registry import find_model, list_models
from cifar_models.text import is_text
from training.loop import Stopped, fit
from training.options import DATA, add_recipe_options, data_option, may_download, override
from training.precision import computes_in
from training.recipe import Recipe
from training.recipes import RECIPES
from training.record import write_record
from training.run import Run, has_checkpoint, locked
from training.stop import StopRequest, stop_request
from training.teacher import load_start, load_teacher
from training.tensorboard import write_start
from training.trainer import Trainer
from training.world import World, join_world, local_rank, local_size

_EPILOG = f"""
A first run, on the images in data/ (CIFAR-10 is downloaded there when the folder is empty):
  python -m training.fit                               the default network, 30 epochs
  python -m training.fit --epochs 2 --out runs/try     the same, two epochs only: a look around
  python -m training.fit seed004                       the fifth tutorial, its defects mended (--list: all recipes)
  python -m training.fit --model resnet20              another network by the default recipe
A run that was stopped goes on with --resume. What comes out is runs/<name>/best.pt; next:
  python -m training.evaluate runs/<name>
  python -m export runs/<name>/best.pt --out models/<name>
Several GPUs: torchrun --nproc-per-node 2 -m training.fit (on several machines: --out in a folder that all of them see)

models: {", ".join(list_models())}
"""


def main() -> int:
    options = parse_options()
    if options.list:
        print("\n".join(f"{name:22} {recipe.model:24} {recipe.epochs:3} epochs" for name, recipe in RECIPES.items()))
        return 0
    recipe = override(RECIPES[options.recipe], options)
    find_model(recipe.model)
    device = pick_device(options.device)
    torch.backends.cudnn.benchmark = True  # the shapes of a run stay the same
    world = join_world(device)
    try:
        code = train_in(world, device, recipe, options)
    except BaseException as error:
        # NCCL would wait for the others, who may know of no error, and nobody would read of it.
        if device.type == "cpu":
            clear_frames(error.__traceback__)  # which hold the model, and it what `leave` is to end
            world.leave()
        raise
    world.leave()
    return code


def train_in(world: World, device: torch.device, recipe: Recipe, options: argparse.Namespace) -> int:
    folder = options.out or Path("runs") / (recipe.model if options.recipe == "cifarnet" else options.recipe)
    resume = world.first(partial(should_resume, folder, options.resume))
    data_name = name_data(options)  # before the pictures are read, which may take long
    with world.first_alone():  # it may have to download them
        data = load_images(options.data, "train", download=may_download(options.data))
    run = Run(folder=folder, recipe=recipe, data=data, data_name=data_name)
    start = None if resume else load_start(run)
    trainer = Trainer(recipe, *run.split(), device, world, load_teacher(run, device), start)
    with ExitStack() as held, stop_request() as stop:
        world.first(partial(begin, trainer, run, held, resume=resume))
        if resume:
            run.resume(trainer)
            if options.data_name not in (None, run.data_name):
                raise InputError(f"{folder} calls its data {run.data_name!r}; go on without --data-name.")
        if world.is_first:
            if left_out := describe_left_out(options.data / "train"):
                say(left_out)
            say(describe(trainer, run))
        code = train(trainer, run, stop)
    if code == 0 and world.is_first:
        say(f"\nThe best epoch is {run.best}. Next:\n{next_commands(run, options.data)}")
    return code


def name_data(options: argparse.Namespace) -> str:
    """What every figure of the run will call them, in a line. Raises InputError."""
    name: str = options.data_name or default_name(options.data)
    if not is_text(name):
        raise InputError(f"The data cannot be called {name!r} in a line of text; give them another --data-name.")
    return name


def describe(trainer: Trainer, run: Run) -> str:
    """What is about to be trained, on what and where, in a line: what is wrong with it should be seen at once."""
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return (
        f"{run.recipe.model}, {parameters:,} parameters: {run.recipe.epochs} epochs of {len(run.training):,} images of "
        f"{len(run.data.classes)} labels, {len(run.validation):,} more to choose by; on {trainer.device} in "
        f"{computes_in(trainer.dtype, trainer.device)}; run in {run.folder}"
    )


def next_commands(run: Run, data: Path) -> str:
    """What to do with a finished run, as lines for a shell."""
    folder = str(run.folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.folder.absolute().name).lstrip("._-")  # as bundles are called
    bundle = str(Path("models") / (name or run.recipe.model))
    commands = [["training.evaluate", folder], ["export", str(run.best), "--out", bundle]]
    return "\n".join("  " + shlex.join(["python", "-m", *words, *data_option(data)]) for words in commands)


def begin(trainer: Trainer, run: Run, held: ExitStack, *, resume: bool) -> None:
    """Take the run folder for as long as `held` holds it. Raises InputError."""
    held.enter_context(locked(run.folder))
    if not resume:
        if has_checkpoint(run.folder):  # another process may have trained there meanwhile
            raise taken(run.folder)
        write_record(run, trainer)
        write_start(run)


def train(trainer: Trainer, run: Run, stop: StopRequest) -> int:
    try:
        fit(trainer, run, stop)
    except Stopped:
        if trainer.world.is_first:
            where = f"step {trainer.step} of epoch {trainer.epoch + 1}"
            complain(f"\nStopped, and saved at {where}. The same command with --resume goes on.")
        return stop.exit_code
    return 0


def should_resume(folder: Path, asked: bool) -> bool:
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    try:
        exists = has_checkpoint(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); name another folder with --out.") from error
    if exists and not asked and not restarted:
        raise taken(folder)
    if asked and not exists:
        raise InputError(f"{folder} holds no checkpoint, last.pt or best.pt, to go on from; begin it without --resume.")
    return asked or (restarted and exists)


def taken(folder: Path) -> InputError:
    return InputError(f"{folder} holds a run already: continue it with --resume, or name another folder with --out.")


def parse_options() -> argparse.Namespace:
    parser = Parser(
        prog="python -m training.fit",
        description="Train a network by a recipe, on CUDA where there is a device and on the CPU otherwise.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", default="cifarnet", choices=list(RECIPES), help="default: cifarnet")
    parser.add_argument("--list", action="store_true", help="list the recipes")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images (default: data)")
    parser.add_argument("--data-name", help="how figures shall name these data (default: CIFAR-10 or their folder)")
    parser.add_argument(
        "--out", type=Path, help="folder of the run (default: runs/<recipe>; of cifarnet's, runs/<model>)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where the run in that folder stopped")
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: cuda where there is one)")
    add_recipe_options(parser.add_argument_group("fields of the recipe, to override"))
    return parser.parse_args()


def pick_device(name: str | None) -> torch.device:
    """This process's device. Raises InputError for one that is not there, or that its processes cannot share."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and not re.fullmatch(r"cuda(:(0|[1-9][0-9]?))?", name):
        raise InputError(f"--device {name} cannot be trained on; use cpu, cuda or cuda:0.")
    if ":" in name and local_size() > 1:
        raise InputError(f"--device {name} would be that of all {local_size()} processes; use --device cuda.")
    device = torch.device(name, local_rank()) if name == "cuda" else torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(f"There is no {device}: torch sees {count} CUDA devices here; use --device cpu.")
    return device


if __name__ == "__main__":
    run_command(main)
