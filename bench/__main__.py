"""python -m bench [PART ...]: every figure of docs/benchmarks.md in one run, laid out for 20 minutes on two cores."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench.page import DOCS, FIGURES, write_page
from bench.serving.rounds import note
from bench.serving.server import ROOT
from bench.serving.wrk import find_wrk
from cifar_models.command import Parser, run_command
from cifar_models.errors import InputError
from training.options import DATA

# About 14, 3 and 2 minutes on two slow cores (2.5 GHz, without bfloat16).
_COMMANDS = {
    "serving": ("bench.serving", "--seconds", "4", "--rounds", "2", "--overload", "30"),
    "growth": ("bench.growth", "--seconds", "4"),
    "training": ("bench.training", "--images", "2000", "--rounds", "3", "--data", "{data}"),
}


def main() -> int:
    options = parse_options()
    find_wrk()
    failed = []
    for name in options.parts or _COMMANDS:
        started = time.monotonic()
        try:
            measure(name, options.out / FIGURES / f"{name}.json", options.data)
        except InputError as error:  # the other parts may do without what this one lacks
            failed.append(f"{name} was not measured: {error}")
        note(f"{name}: {time.monotonic() - started:.0f} s")
    write_page(options.out)
    for line in failed:
        note(line)
    return 1 if failed else 0


def measure(name: str, path: Path, data: Path) -> None:
    """Run the part's own command; its figures go to `path`. Raises InputError."""
    module, *arguments = _COMMANDS[name]
    command = [sys.executable, "-m", module, *(part.format(data=data) for part in arguments), "--json", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            process.wait()
        except BaseException:
            process.terminate()  # and wait: it has servers to stop
            raise
    if process.returncode:
        raise InputError(f"`python -m {module}` ended with {process.returncode} and said why above.")


def parse_options() -> argparse.Namespace:
    parser = Parser(prog="python -m bench", description="Every figure of docs/benchmarks.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(_COMMANDS)} (default: all)", default=[])
    parser.add_argument("--data", type=Path, default=DATA, help="images for the training part (default: data)")
    parser.add_argument(
        "--out", type=Path, default=DOCS, help="folder of benchmarks.md and benchmarks/ (default: docs)"
    )
    options = parser.parse_args()
    options.out, options.data = options.out.resolve(), options.data.resolve()
    for name in options.parts:
        if name not in _COMMANDS:
            raise InputError(f"There is no part {name!r}. There are: {', '.join(_COMMANDS)}.")
    return options


if __name__ == "__main__":
    run_command(main)
