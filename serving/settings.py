"""The server's settings: CIFAR_... environment variables, all with a default."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cifar_models.errors import InputError

_PREFIX = "CIFAR_"
_NOT_OURS = {"CIFAR_DATA"}  # where the tests find real images
_SHIPPED = Path(__file__).parent.parent / "models"

PositiveInt = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """What an operator may change; the variable of a field is CIFAR_ and its name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundles: Path = _SHIPPED  # folder of bundle folders
    model: str = "cifarnet"  # bundle that answers when a request names none
    engine: str = "auto"  # or a name of serving.engine.ENGINES
    allow_fallback: bool = False  # let the CPU answer where the CUDA engine asked for does not work
    workers: PositiveInt = 1  # processes, each with its own batcher and engine
    threads: Annotated[int, Field(ge=0)] = 0  # of an engine on the CPU; 0: all cores, shared among the workers
    max_batch: PositiveInt = 64  # images
    max_queue: PositiveInt = 4096  # images that wait, a bound on memory: 3 KB each; what comes then is refused with 429
    max_wait: Annotated[float, Field(gt=0, le=300)] = 1.0  # seconds; who would wait longer in a crowd gets 429
    max_images: PositiveInt = 1024  # per request
    max_bytes: PositiveInt = 16 * 1024 * 1024  # per request body
    max_pixels: PositiveInt = 16_000_000  # per request, of all its pictures before they are resized
    timeout: Annotated[float, Field(gt=0, le=300)] = 5.0  # seconds from a request's first byte to its answer
    log_sample: Annotated[float, Field(ge=0, le=1)] = 0.001  # share of the requests that went well and get a log line
    log_slow: Annotated[float, Field(gt=0)] = 1.0  # seconds from which a request is slow; inf: none is

    @model_validator(mode="after")
    def _roomy(self) -> "Settings":
        if self.max_queue < self.max_images:
            raise ValueError(
                f"CIFAR_MAX_QUEUE={self.max_queue} is less than CIFAR_MAX_IMAGES={self.max_images}: the largest "
                "requests could never be accepted; raise the first or lower the second"
            )
        return self

    @property
    def engine_threads(self) -> int:
        return self.threads or max(1, available_cores() // self.workers)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises InputError that names the variable, its value and the rule."""
    names = [name for name in environment if name.startswith(_PREFIX) and name not in _NOT_OURS]
    try:
        return Settings.model_validate({name.removeprefix(_PREFIX).lower(): environment[name] for name in names})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise InputError(f"{first['ctx']['error']}.") from error
        variable = f"{_PREFIX}{first['loc'][0]}".upper()
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(f"{_PREFIX}{name}".upper() for name in Settings.model_fields))
            raise InputError(f"{variable} is no setting. There are: {known}.") from error
        raise InputError(f"{variable}={first['input']!r} cannot be used: {first['msg']}.") from error
