"""Bundles in memory: each with an engine that has proved itself on this machine."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from cifar_models.bundle import MANIFEST, Bundle, BundleError, open_bundle
from cifar_models.cifar10 import IMAGE_SHAPE
from cifar_models.errors import InputError
from cifar_models.manifest import Artifact
from serving.engines.choice import EngineChoice, candidates, check_cuda
from serving.engines.golden import check_golden, find_artifact, golden_images
from serving.engines.registry import ENGINES, Engine
from serving.engines.torchscript import give_back_memory
from serving.engines.ways import classify_by_all

logger = logging.getLogger(__name__)

_TIMED = 5  # batches, of which the fastest counts: what disturbs a measurement only makes it slower
# How many times as fast as the first one an engine must be to be taken instead. TorchScript alone did 1.2 to 1.5 times
# the batches of ONNX Runtime on an H200, and 0.7 times in a server of one worker: it takes more of Python's time, which
# the requests need too. And all workers shall take the same.
_ADVANTAGE = 2


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle whose golden images came out right on the engine that will answer."""

    bundle: Bundle
    engine_name: str
    engine: Engine
    degraded: str | None = None  # why an engine that should have been preferred does not answer

    @property
    def labels(self) -> list[str]:
        return self.bundle.manifest.labels

    @property
    def artifact(self) -> Artifact:
        """The file that computes."""
        return find_artifact(self.bundle, self.engine_name)

    @property
    def threshold(self) -> float | None:
        """The probability from which on an answer is confident; None where the bundle states none."""
        selective = self.artifact.selective
        return selective.threshold if selective else None

    def describe(self) -> dict[str, str]:
        """Name (of the folder), version (of the file that computes) and engine, as every answer states them."""
        return {"name": self.bundle.folder.name, "version": self.artifact.sha256[:12], "engine": self.engine_name}


def find_bundles(folder: Path) -> dict[str, Path]:
    """The bundle folders in `folder`, by name; InputError when there is none."""
    found = {path.parent.name: path.parent for path in sorted(folder.glob(f"[!.]*/{MANIFEST}"))}
    if not found:
        raise InputError(
            f"CIFAR_BUNDLES={folder} holds no bundle (a folder with {MANIFEST}); `python -m export` makes one."
        )
    return found


def load_bundle(folder: Path, choice: EngineChoice) -> LoadedBundle:
    """Open a bundle and start the engine asked for, or for "auto" the best that passes the golden images here.

    Raises BundleError when a file is not that of the manifest, or no engine passes.
    """
    bundle = open_bundle(folder)
    reasons: dict[str, str] = {}
    taken = start_best(bundle, choice, reasons)
    give_back_memory()  # of those on CUDA that were not taken
    if taken is None:
        raise BundleError(f"No engine can serve {folder}. {explain(reasons)}")
    name, engine = taken
    return LoadedBundle(bundle, name, engine, explain_missing(bundle, name, reasons))


def start_best(bundle: Bundle, choice: EngineChoice, reasons: dict[str, str]) -> tuple[str, Engine] | None:
    """The engine that answers, by name; why others do not is added to `reasons`."""
    on_cuda, on_cpu = candidates(choice)
    if passed := start_engines(bundle, on_cuda, choice, reasons):
        return choose(passed, choice.max_batch)
    for name in on_cpu:
        if passed := start_engines(bundle, [name], choice, reasons):
            return name, passed[name]
    return None


def start_engines(
    bundle: Bundle, names: Sequence[str], choice: EngineChoice, reasons: dict[str, str]
) -> dict[str, Engine]:
    """The engines that pass; why the others do not is added to `reasons`."""
    passed = {}
    for name in names:
        try:
            passed[name] = start_engine(bundle, name, choice)
        except Exception as error:  # an engine that is not installed, has no device, or computes something else
            reasons[name] = str(error)
            # As text: whoever kept the error would keep the engine, with its memory on the device.
            logger.warning("Bundle %s: %s does not run here: %s", bundle.folder.name, name, reasons[name])
    return passed


def start_engine(bundle: Bundle, name: str, choice: EngineChoice) -> Engine:
    if ENGINES[name].cuda:
        check_cuda()
    engine = ENGINES[name].load(bundle.path(find_artifact(bundle, name)), choice.threads, choice.max_batch)
    for probabilities in classify_by_all(engine.ways(), golden_images(bundle)):
        check_golden(bundle, name, probabilities)
    return engine


def choose(engines: dict[str, Engine], max_batch: int) -> tuple[str, Engine]:
    """The first one, unless another is faster by far in full batches: they decide how much load a server bears."""
    first = next(iter(engines))
    if len(engines) == 1:
        return first, engines[first]
    seconds = {name: time_batch(engine, max_batch) for name, engine in engines.items()}
    logger.info("Seconds for a batch of %d: %s", max_batch, seconds)
    name = min(seconds, key=lambda name: seconds[name] * (1 if name == first else _ADVANTAGE))
    return name, engines[name]


def time_batch(engine: Engine, size: int) -> float:
    """Seconds of the fastest of a few batches; warm engines need no rehearsal."""
    images = np.zeros((size, *IMAGE_SHAPE), np.uint8)
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        engine(images)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def explain(reasons: dict[str, str]) -> str:
    return " ".join(f"{name}: {reason}" for name, reason in reasons.items())


def explain_missing(bundle: Bundle, taken: str, reasons: dict[str, str]) -> str | None:
    """Why engines do not answer that come before the one that was taken; None where none of them failed.

    That the bundle has no file for one is no failure, unless the CPU answers for it where CUDA should.
    """
    missing = {}
    for name, kind in takewhile(lambda item: item[0] != taken, ENGINES.items()):
        instead_of_cuda = kind.cuda and not ENGINES[taken].cuda
        if name in reasons and (instead_of_cuda or bundle.manifest.find(kind.artifact)):
            missing[name] = reasons[name]
    return explain(missing) or None
