"""python -m bench.gpu [STEP ...] [--data DIR]: prove on this machine's GPU what is named; see docs/gpu.md."""

import argparse
import gc
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from bench.gpu.context import Context
from bench.gpu.page import write_page
from bench.gpu.record import Outcome, Record, Report, open_report
from bench.gpu.steps import GROUPS, STEPS, find_steps
from bench.serving.machine import describe_machine
from bench.serving.server import ROOT
from cifar_models.command import Parser, amount, run_command
from cifar_models.errors import InputError, reason
from training.options import DATA

_DOCS = ROOT / "docs"


def main() -> None:
    options = parse_options()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch sees no CUDA device here; --device cpu --miniature runs the same steps in miniature.")
    if (options.device == "cpu" or options.miniature) and options.out.resolve() == _DOCS:
        raise InputError("docs/gpu.md is for a GPU's figures at full size; name another folder with --out.")
    report = open_report(options.out / "gpu.json", device=options.device, miniature=options.miniature)
    context = Context(
        device=options.device,
        miniature=options.miniature,
        data=options.data,
        data_name=options.data_name,
        work=options.work,
    )
    for name in find_steps(options.steps):
        take(name, context, report, options)
        report.save(options.out / "gpu.json")
        show(report, options)


def take(name: str, context: Context, report: Report, options: argparse.Namespace) -> None:
    """One step, if it is not done already."""
    inputs = {**context.common_inputs(), **STEPS[name].inputs(context)}
    if report.is_done(name, inputs) and not options.again:
        say(f"{name}: done before")
        return
    say(f"{name}: {STEPS[name].title}")
    started = time.monotonic()
    outcome = attempt(name, replace(context, deadline=started + 60 * options.minutes, again=options.again))
    seconds = time.monotonic() - started
    missing = list(outcome.missing)
    told = {word: text for word in ("beside", "by") if (text := getattr(options, word))}
    machine = {**describe_machine(), **told}
    report.add(name, Record(outcome.status, outcome.figures, missing, inputs, seconds, machine))
    say(f"{name}: {outcome.status}, {seconds:.0f} s" + "".join(f"\n  {reason}" for reason in missing))


def attempt(name: str, context: Context) -> Outcome:
    """Whatever a step lacks, the next one may do without; of an error that nobody expected, the log has all."""
    try:
        return STEPS[name].run(context)
    except InputError as error:
        return Outcome({}, [str(error)])
    except Exception as error:
        return Outcome({}, [unexpected(error, context.work / f"{name}.error")])
    finally:
        free_memory()


def free_memory() -> None:
    """Of the device, where servers and trainings of the next steps are processes of their own."""
    gc.collect()
    with suppress(RuntimeError):  # a device that broke has nothing to give back, and its step has said so
        torch.cuda.empty_cache()


def show(report: Report, options: argparse.Namespace) -> None:
    """What the page lacks, gpu.json has: the next step runs all the same."""
    try:
        write_page(report, options.out)
    except Exception as error:
        say(f"{options.out / 'gpu.md'} is not written: {unexpected(error, options.work / 'page.error')}")


def unexpected(error: Exception, log: Path) -> str:
    """The error in a line; the log gets all of it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(traceback.format_exception(error)))
    return f"{reason(error)} ({log} has more)"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse_options() -> argparse.Namespace:
    listed = "\n".join(f"  {name:22} {step.title}" for name, step in STEPS.items())
    groups = "\n".join(f"  {name:22} {', '.join(steps)}" for name, steps in GROUPS.items())
    parser = Parser(
        prog="python -m bench.gpu",
        description="What a machine with one NVIDIA GPU must prove, step by step.",
        epilog=f"steps, in order:\n{listed}\ngroups:\n{groups}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help="steps or groups (default: all that are not done)", default=[]
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images (default: data)")
    parser.add_argument("--data-name", help="how figures shall name these data, such as 'CIFAR-10'")
    parser.add_argument("--beside", help="what else the device computes meanwhile, to be said with the seconds")
    parser.add_argument("--by", help="what made the figures, if not this command, as of a run put into --work")
    parser.add_argument(
        "--minutes",
        type=amount,
        default=8,
        help="after which a training stops, to go on with the next call (default: 8)",
    )
    parser.add_argument("--again", action="store_true", help="do what is done already, too; recipes from their start")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda")
    parser.add_argument("--miniature", action="store_true", help="a little of everything, to see that the steps run")
    parser.add_argument("--out", type=Path, default=_DOCS, help="folder of gpu.md and gpu.json (default: docs)")
    parser.add_argument("--work", type=Path, default=Path("runs/gpu"), help="folder of training runs and logs")
    options = parser.parse_args()
    known = [*STEPS, *GROUPS]
    for name in options.steps:
        if name not in known:
            raise InputError(f"There is no step {name!r}. There are: {', '.join(known)}.")
    return options


if __name__ == "__main__":
    run_command(main)
