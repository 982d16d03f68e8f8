"""A bundle's engines beside each other: python -m bench.engines [--model NAME]: images a second, batch by batch."""

import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.output import output, write_figures
from cifar_models.bundle import open_bundle
from cifar_models.command import Parser, amount, count, run_command
from cifar_models.errors import InputError
from cifar_models.picture import Pixels
from export.golden import smooth_images
from serving.engines.registry import ENGINES, Engine
from serving.settings import Settings

BATCHES = (1, 32, 64, 256)  # images
BATCH = 64  # images, as the server gathers them
_DIFFERENT = 64


def main() -> None:
    settings = Settings()
    parser = Parser(prog="python -m bench.engines", description="Images a second of every engine.")
    parser.add_argument("--model", default=settings.model, help=f"bundle (default: {settings.model})")
    parser.add_argument("--seconds", type=amount, default=2, help="of each point (default: 2)")
    parser.add_argument("--rounds", type=count, default=3, help="default: 3; the medians count")
    parser.add_argument("--json", type=output, help="also write the figures to this file")
    options = parser.parse_args()
    found = compare(settings.bundles / options.model, settings, options.seconds, options.rounds)
    print(f"{'images a second, batches of':28}" + "".join(f"{size:>8}" for size in BATCHES))
    for name, rates in found.items():
        print(f"{name:28}" + "".join(f"{rates[size]:8.0f}" for size in BATCHES))
    if options.json:
        write_figures(found, options.json)


def compare(bundle: Path, settings: Settings, seconds: float, rounds: int) -> dict[str, dict[int, float]]:
    """By engine and size of batch: the medians of rounds in which all take turns."""
    engines = {name: load_engine(name, bundle, settings) for name in engine_names(cuda=False)}
    found: dict[str, dict[int, list[float]]] = {name: {size: [] for size in BATCHES} for name in engines}
    for _ in range(rounds):
        for size in BATCHES:
            for name, engine in engines.items():
                found[name][size].append(rate(engine, size, seconds, lanes=engine.lanes))
    return {name: {size: statistics.median(rates) for size, rates in sizes.items()} for name, sizes in found.items()}


def engine_names(*, cuda: bool) -> list[str]:
    """Of the engines that run there."""
    return [name for name, kind in ENGINES.items() if kind.cuda == cuda]


def load_engine(name: str, folder: Path, settings: Settings) -> Engine:
    """Raises InputError when the bundle has no file for it."""
    kind = ENGINES[name]
    bundle = open_bundle(folder)
    artifact = bundle.manifest.find(kind.artifact)
    if artifact is None:
        raise InputError(f"{folder} has no {kind.artifact}, which {name} runs; export it with that format.")
    return kind.load(bundle.path(artifact), settings.engine_threads, settings.max_batch)


def rate(compute: Callable[[Pixels], object], size: int, seconds: float, *, lanes: int = 1) -> float:
    """Images a second in batches of `size`, once it is warm, with `lanes` of them at a time."""
    batch = batch_of(size)
    compute(batch)
    started = time.perf_counter()

    def ask() -> int:
        count = 0
        while True:  # once at least, however late the thread came
            compute(batch)
            count += size
            if time.perf_counter() - started >= seconds:
                return count

    with ThreadPoolExecutor(lanes) as pool:
        counts = [pool.submit(ask) for _ in range(lanes)]
    return sum(count.result() for count in counts) / (time.perf_counter() - started)


def rates_of(engine: Engine, sizes: Iterable[int], seconds: float) -> dict[int, float]:
    """By size of batch, with as many batches at a time as the engine has lanes."""
    return {size: rate(engine, size, seconds, lanes=engine.lanes) for size in sizes}


def batch_of(size: int) -> Pixels:
    images = smooth_images(min(size, _DIFFERENT))
    return images.repeat(-(-size // len(images)), axis=0)[:size]


if __name__ == "__main__":
    run_command(main)
