"""What each technique of the default recipe gives: python -m bench.ablation [--data DIR].

One network is trained by the default recipe, and again with one thing changed at a time. Judged on a fifth of the
training images that is held out; the test images are not read. A call that was stopped goes on where it was.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from cifar_models.command import Parser, count, run_command
from training.options import DATA
from training.run import EpochMetrics, has_checkpoint, read_metrics

_CHANGES: dict[str, list[str]] = {
    "the default recipe": [],
    "no label smoothing": ["--label-smoothing", "0"],
    "no cutout": ["--cutout", "0"],
    "CutMix instead of cutout": ["--cutout", "0", "--cutmix", "0.5"],
    "no crop": ["--crop", "0"],
    "averaged weights (EMA 0.99)": ["--ema", "0.99"],
    "random flip instead of alternating": ["--flip", "random"],
    "SGD at 0.1 instead of Muon": ["--optimizer", "sgd", "--lr", "0.1"],
    "no flip": ["--flip", "none"],
    "constant learning rate": ["--schedule", "constant"],
}
_VALIDATION = 0.2


def main() -> None:
    parser = Parser(prog="python -m bench.ablation", description="What each technique gives.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="batchnorm_net", help="network to train (default: batchnorm_net)")
    parser.add_argument("--epochs", type=count, default=6, help="of each run (default: 6)")
    parser.add_argument("--seeds", type=count, default=1, help="runs of each change (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    options = parser.parse_args()
    print("| change | validation accuracy of the last epoch, seed by seed | loss |\n| --- | --- | --- |")
    for number, (change, overrides) in enumerate(_CHANGES.items()):
        found = [
            train(options, options.out / f"{options.model}-{number}-{seed}", [*overrides, "--seed", str(seed)])
            for seed in range(options.seeds)
        ]
        print(row(change, found), flush=True)


def train(options: argparse.Namespace, out: Path, overrides: list[str]) -> EpochMetrics:
    """The last epoch of one run, trained if it is not there yet."""
    recipe = ["--model", options.model, "--epochs", str(options.epochs), "--validation", str(_VALIDATION), *overrides]
    command = [sys.executable, "-m", "training.fit", *recipe, "--data", str(options.data), "--out", str(out)]
    resume = ["--resume"] if has_checkpoint(out) else []
    done = subprocess.run([*command, *resume], check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    return read_metrics(out)[-1]


def row(change: str, found: list[EpochMetrics]) -> str:
    accuracies = ", ".join(f"{metrics.validation_accuracy:.2%}" for metrics in found)
    loss = sum(metrics.validation_loss for metrics in found) / len(found)
    return f"| {change} | {accuracies} | {loss:.3f} |"


if __name__ == "__main__":
    run_command(main)
