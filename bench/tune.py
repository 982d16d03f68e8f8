"""The settings with which this machine serves most: python -m bench.tune --p99-ms 20 [--out settings.env].

For workers, threads and batch limit in turn, the best so far is kept. A configuration is asked for single pictures in
the open loop, at growing rates, while 99 of 100 answers come in time; one that does not bear a little more than the
best so far, on a warm server, is given up. The rate that counts has held twice.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.engines import engine_names
from bench.output import output
from bench.peers.model import BUNDLE, MAX_BATCH
from bench.serving.machine import describe_machine
from bench.serving.open_loop import OpenLoop, Phase, open_loop
from bench.serving.rounds import note
from bench.serving.server import ENGINE, OURS, running
from bench.serving.table import origin
from bench.serving.workload import Workload, single_pictures
from cifar_models.atomic import saving
from cifar_models.command import Parser, amount, run_command
from cifar_models.errors import InputError
from export.figures import as_markdown
from serving.engines.registry import CUDA_ATOL
from serving.settings import available_cores

_LIMITS = (16, 32, 64, 128, 256)
_FIRST_RATE = 20.0  # requests a second
_STEPS = (2.0, 1.25, 1.05)  # the rate grows by the first while it holds, then by the next
_BETTER = _STEPS[-1]
_SEED = 20261123

Holds = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is searched."""

    workers: int
    threads: int  # of each worker's engine
    max_batch: int  # images

    def variables(self, engine: str) -> dict[str, str]:
        counts = {"WORKERS": self.workers, "THREADS": self.threads, "MAX_BATCH": self.max_batch}
        return {"CIFAR_ENGINE": engine, **{f"CIFAR_{name}": str(count) for name, count in counts.items()}}


@dataclass(frozen=True, slots=True)
class Trial:
    """The highest rate that a configuration bore, and how; none, if it did not bear more than the best before it."""

    configuration: Configuration
    best: OpenLoop | None


def main() -> None:
    options = parse_options()
    trials = search(options)
    print(table(trials))
    best = next((trial for trial in reversed(trials) if trial.best), None)
    if best is None:
        raise InputError(
            f"No setting answers in {options.p99_ms:g} ms at {_FIRST_RATE:g} requests a second; try a larger --p99-ms."
        )
    write_settings(best, options.engine, options.p99_ms, options.out)
    print(f"\n{options.out} holds the best. Serve with it: CIFAR_SETTINGS={options.out} bentoml serve")


def search(options: argparse.Namespace) -> list[Trial]:
    """Every configuration that was tried; each that bore a rate bore more than all before it."""
    precise = options.engine.endswith("int8")
    pictures = single_pictures() if precise else single_pictures(BUNDLE / "model.onnx", tolerance=CUDA_ATOL)
    best, floor = Configuration(1, available_cores(), MAX_BATCH), _FIRST_RATE
    trials: list[Trial] = []
    for propose in (lambda first: [first], *(SEARCHES[name] for name in options.search)):
        for configuration in propose(best):
            if configuration in [trial.configuration for trial in trials]:
                continue
            trial = attempt(configuration, options.engine, pictures, floor, options.p99_ms, options.seconds)
            trials.append(trial)
            if trial.best:
                best, floor = configuration, trial.best.offered * _BETTER
    return trials


def by_workers(best: Configuration) -> list[Configuration]:
    cores = available_cores()
    return [replace(best, workers=count, threads=max(1, cores // count)) for count in up_to_cores()]


def by_threads(best: Configuration) -> list[Configuration]:
    return [replace(best, threads=count) for count in up_to_cores()]


def up_to_cores() -> list[int]:
    """Powers of two, and all cores."""
    cores = available_cores()
    return sorted({*(1 << power for power in range(cores.bit_length())), cores})


def by_limits(best: Configuration) -> list[Configuration]:
    return [replace(best, max_batch=limit) for limit in _LIMITS]


SEARCHES = {"workers": by_workers, "threads": by_threads, "batch": by_limits}


def attempt(
    configuration: Configuration, engine: str, pictures: Workload, floor: float, bound: float, seconds: float
) -> Trial:
    """The highest rate of at least `floor` a second at which p99 is at most `bound` ms, on a fresh server."""
    note(f"{configuration}")
    held: dict[float, OpenLoop] = {}
    with running(OURS, pictures, configuration.variables(engine)) as (server, _):
        open_loop(server, pictures, [Phase("warm-up", floor, seconds / 2)], seed=_SEED)

        def holds(rate: float) -> bool:
            (run,) = open_loop(server, pictures, [Phase(f"{rate:.0f}/s", rate, seconds)], seed=_SEED)
            good = list(run.statuses) == ["200"] and run.p99_ms is not None and run.p99_ms <= bound
            note(f"  {rate:.0f}/s: p99 {run.p99_ms or float('nan'):.1f} ms, {run.statuses}")
            held.update({rate: run} if good else {})
            return good

        rate = climb(holds, floor)
    return Trial(configuration, None if rate is None else held[rate])


def climb(holds: Holds, floor: float) -> float | None:
    """The highest rate found for which `holds` is true, and once more in the end, to within the last of _STEPS.

    None if `floor` is too much.
    """
    if not holds(floor):
        return None
    rate = floor
    for step in _STEPS:
        while holds(rate * step):
            rate *= step
    while not holds(rate):
        if rate <= floor:
            return None
        rate = max(floor, rate / _STEPS[-1])
    return rate


def table(trials: list[Trial]) -> str:
    head = ["workers", "threads", "batch limit", "requests/s", "p50 ms", "p99 ms"]
    rows = []
    for trial in trials:
        chosen, run = trial.configuration, trial.best
        figures = [f"{run.offered:.0f}", f"{run.p50_ms:.1f}", f"{run.p99_ms:.1f}"] if run else ["no more", "-", "-"]
        rows.append([str(chosen.workers), str(chosen.threads), str(chosen.max_batch), *figures])
    return as_markdown([head, *rows])


def write_settings(best: Trial, engine: str, bound: float, path: Path) -> None:
    assert best.best is not None
    lines = [
        f"# By python -m bench.tune --p99-ms {bound:g}: {best.best.offered:.0f} single pictures a second at a p99 of "
        f"{best.best.p99_ms:.1f} ms.",
        f"# {origin(describe_machine())}",
        *(f"{name}={value}" for name, value in best.configuration.variables(engine).items()),
    ]
    with saving(path) as partial:
        partial.write_text("\n".join(lines) + "\n")


def parse_options() -> argparse.Namespace:
    parser = Parser(prog="python -m bench.tune", description="The settings that serve most, in time.")
    parser.add_argument("--p99-ms", type=amount, default=20, help="for 99 of 100 answers (default: 20)")
    parser.add_argument("--seconds", type=amount, default=4, help="at each rate (default: 4)")
    parser.add_argument(
        "--engine",
        choices=[*engine_names(cuda=False), *engine_names(cuda=True)],
        default=ENGINE,
        help=f"which is written into the file too (default: {ENGINE})",
    )
    names = list(SEARCHES)
    parser.add_argument("--search", nargs="+", choices=names, default=names, help=f"default: {' '.join(names)}")
    parser.add_argument("--out", type=output, default="settings.env", help="default: settings.env")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
