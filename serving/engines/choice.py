"""Which engines may answer: what the operator asks for, and what this machine has."""

import importlib.util
from dataclasses import dataclass

from cifar_models.errors import InputError
from serving.engines.device import DriverError, has_cuda
from serving.engines.registry import AUTO, ENGINES


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the operator wants of the engines; `name` is one of ENGINES or AUTO."""

    name: str
    threads: int
    max_batch: int
    allow_fallback: bool = False  # to the CPU, where CUDA was asked for and does not work


def check_engine(choice: EngineChoice) -> None:
    """Raises InputError when the engine asked for is unknown, or needs what is not there: a device, or a library."""
    if choice.name == AUTO:
        return
    if choice.name not in ENGINES:
        raise InputError(f"CIFAR_ENGINE={choice.name!r} is no engine. There are: {', '.join((AUTO, *ENGINES))}.")
    cuda = ENGINES[choice.name].cuda
    if cuda and choice.allow_fallback:
        return
    if cuda:
        try:
            check_cuda()
        except InputError as error:
            raise InputError(
                f"CIFAR_ENGINE={choice.name!r} needs a CUDA device. {error} CIFAR_ALLOW_FALLBACK=true lets the CPU "
                "answer, CIFAR_ENGINE=auto takes what there is."
            ) from error
    if not is_installed(choice.name):
        raise InputError(
            f"CIFAR_ENGINE={choice.name!r} needs {library(choice.name)}, which is not installed here; install it, or "
            "let CIFAR_ENGINE=auto take what there is."
        )


def check_cuda() -> None:
    """Raises InputError when there is no CUDA device, or a driver that does not work."""
    if not has_cuda():
        raise InputError("The driver finds no CUDA device.")


def candidates(choice: EngineChoice) -> tuple[list[str], list[str]]:
    """Engines on CUDA and on the CPU, of which the first that passes is taken; on CUDA see `choose`."""
    cpu = [name for name, kind in ENGINES.items() if not kind.cuda]
    if choice.name == AUTO:
        return [name for name, kind in ENGINES.items() if kind.cuda and expects_cuda() and is_installed(name)], cpu
    if not ENGINES[choice.name].cuda:
        return [], [choice.name]
    return [choice.name], cpu if choice.allow_fallback else []


def expects_cuda() -> bool:
    """Also where the driver fails: engines that should run there shall say so."""
    try:
        return has_cuda()
    except DriverError:
        return True


def is_installed(name: str) -> bool:
    """The server's own requirements hold no torch, and that is no fault to report."""
    return importlib.util.find_spec(library(name)) is not None


def library(name: str) -> str:
    return "torch" if name.startswith("torchscript") else "onnxruntime"
