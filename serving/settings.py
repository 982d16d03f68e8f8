"""The server's settings: CIFAR_... environment variables, all with a default."""

import os
import re
from collections.abc import Mapping
from math import ceil, prod
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from cifar_models.cifar10 import IMAGE_SHAPE, IMAGE_SIZE
from cifar_models.errors import InputError

_PREFIX = "CIFAR_"
_FILE = "CIFAR_SETTINGS"  # names a file of settings, and is none itself
_DATA = "CIFAR_DATA"  # the images that the tests and the report measure with
# What Kubernetes tells every container of a service that is called cifar or cifar-…, with "=" and the value.
_LINK = re.compile(r"CIFAR_(\w*_)?((SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)=.*|PORT=\w+://.*)")
_MOST_CORES = 1024  # of one machine: so many workers or threads may be of use, more fail again and again
# Images: as many as may wait unless that is changed, and four times what a GPU was measured with. Most engines take the
# memory of their largest batch when they start: what there is not would leave a server that is never ready.
_LARGEST_BATCH = 4096
_BODIES = 8  # of the largest size that may be held at once
_ORIGIN = re.compile(r"\*|https?://[^\s/?#@,]+")  # RFC 6454: scheme, host and port, and no path
_SHIPPED = Path(__file__).parent.parent / "models"

PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.001, le=300)]  # in which somebody shall do something
# BentoML changes the working folder for the import of a Bento, and its parent process, which checks, changes it back.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


class Settings(BaseModel):
    """What an operator may change; the variable of a field is CIFAR_ and its name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundles: AbsolutePath = _SHIPPED  # folder of bundle folders
    model: str = "cifarnet"  # bundle that answers when a request names none
    engine: str = "auto"  # or a name of serving.engines.registry.ENGINES
    allow_fallback: bool = False  # let the CPU answer where the CUDA engine asked for does not work
    workers: Annotated[int, Field(ge=1, le=_MOST_CORES)] = 1  # processes, each with its own batcher and engine
    threads: Annotated[int, Field(ge=0, le=_MOST_CORES)] = 0  # of a CPU engine; 0: all cores, shared among the workers
    max_batch: Annotated[int, Field(ge=1, le=_LARGEST_BATCH)] = 64  # images
    max_queue: PositiveInt = 4096  # images that wait, a bound on memory: 3 KB each; what comes then is refused with 429
    max_wait: Annotated[float, Field(gt=0, le=300)] = 0.5  # seconds; who would wait longer in a crowd gets 429
    max_images: PositiveInt = 1024  # per request
    max_bytes: Annotated[int, Field(ge=prod(IMAGE_SHAPE))] = 16 * 1024 * 1024  # per request body
    max_pixels: Annotated[int, Field(ge=IMAGE_SIZE**2)] = 16_000_000  # per request, before its pictures are resized
    timeout: Seconds = 5.0  # seconds from the end of a request's header to its answer
    log_sample: Annotated[float, Field(ge=0, le=1)] = 0.001  # share of the requests that went well and get a log line
    log_slow: Annotated[float, Field(gt=0)] = 1.0  # seconds from which a request is slow; inf: none is
    max_connections: PositiveInt = 4096  # of a worker; to classify over one more is refused with 429
    client_timeout: Seconds = 10.0  # seconds to send a header, or to take an answer
    max_held_bytes: Annotated[int, Field(ge=0)] = 0  # of all bodies a worker holds at once; 0: eight times max_bytes
    api_key: SecretStr | None = None  # what `Authorization: Bearer` must say; none: everybody may ask
    api_key_file: AbsolutePath | None = None  # the same in a file, one key on each line; any of them opens
    cors_origins: str = ""  # pages that may ask: "https://a.example,https://b.example", or "*" for all
    tls_cert: AbsolutePath | None = None  # PEM; with tls_key the server speaks HTTPS
    tls_key: AbsolutePath | None = None

    @model_validator(mode="after")
    def _roomy(self) -> "Settings":
        for room, size, most in (
            ("max_queue", self.max_queue, "max_images"),
            ("max_held_bytes", self.held_bytes, "max_bytes"),
        ):
            if size < getattr(self, most):
                raise ValueError(
                    f"{variable(room)}={size} is less than {variable(most)}={getattr(self, most)}: the largest "
                    "requests could never be accepted; raise the first or lower the second"
                )
        return self

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in split_origins(value):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write https://host, http://host:port or *, with commas")
        return value

    @model_validator(mode="after")
    def _tls_is_complete(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "CIFAR_TLS_KEY" if self.tls_key is None else "CIFAR_TLS_CERT"
            raise ValueError(f"{missing} is missing: HTTPS needs CIFAR_TLS_CERT and CIFAR_TLS_KEY, both PEM files")
        for name in ("tls_cert", "tls_key"):
            path = getattr(self, name)
            if path is not None and not os.access(path, os.R_OK):
                raise ValueError(f"{variable(name)}={path} is no file that can be read; name a PEM file")
        return self

    @property
    def held_bytes(self) -> int:
        return self.max_held_bytes or _BODIES * self.max_bytes

    @property
    def origins(self) -> list[str]:
        return split_origins(self.cors_origins)

    @property
    def wants_key(self) -> bool:
        return self.api_key is not None or self.api_key_file is not None

    @property
    def engine_threads(self) -> int:
        return self.threads or max(1, available_cores() // self.workers)


def variable(name: str) -> str:
    return f"{_PREFIX}{name}".upper()


def split_origins(text: str) -> list[str]:
    """As browsers write them, with which they are compared: in small letters, and without the scheme's own port."""
    origins = [origin.strip().lower() for origin in text.split(",") if origin.strip()]
    return [origin.removesuffix(":443" if origin.startswith("https:") else ":80") for origin in origins]


def available_cores() -> int:
    """Cores that this process may use, no more than its container's share of time comes to (Linux, cgroups 2 and 1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, share_of_cores(Path("/sys/fs/cgroup")) or cores)


def share_of_cores(cgroup: Path) -> int | None:
    """The quota in whole cores, rounded up; None where there is none."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    return ceil(int(quota) / int(period)) if quota != "max" and int(quota) > 0 else None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises InputError that names the variable, its value and the rule.

    CIFAR_SETTINGS names a file with more of them; what the environment has itself counts.
    """
    environment = {name: text for name, text in environment.items() if not _LINK.fullmatch(f"{name}={text}")}
    if _FILE in environment:
        environment = {**read_settings_file(Path(environment[_FILE]).absolute()), **environment}
    names = [name for name in environment if name.startswith(_PREFIX) and name not in {_DATA, _FILE}]
    try:
        return Settings.model_validate({name.removeprefix(_PREFIX).lower(): environment[name] for name in names})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise InputError(f"{first['ctx']['error']}.") from error
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(map(variable, Settings.model_fields)))
            raise InputError(f"{variable(name)} is no setting. There are: {known}.") from error
        raise InputError(f"{variable(name)}={first['input']!r} cannot be used: {first['msg']}.") from error


def read_settings_file(path: Path) -> dict[str, str]:
    """Lines CIFAR_NAME=value, as `docker run --env-file` takes them; # begins a comment. Raises InputError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{_FILE}={path} cannot be read ({error}); name a text file of lines CIFAR_NAME=value."
        ) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.startswith(_PREFIX) or name == _FILE:
            # What stands there is not repeated: it may be a key.
            raise InputError(f"{path}:{number} is no setting; write CIFAR_NAME=value.")
        found[name] = value.strip()
    return found
