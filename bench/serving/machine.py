"""What was measured on: machine, versions, settings."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cifar_models.revision import source_revision
from serving.settings import available_cores

_PACKAGES = (
    "bentoml",
    "fastapi",
    "litserve",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "pillow",
    "torch",
    "uvicorn",
    "uvloop",
)


def describe_machine() -> dict[str, Any]:
    """Date, CPU, cores, load, versions, revision of the source, and the settings that are not default."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "load": [round(load, 2) for load in os.getloadavg()],  # of 1, 5 and 15 minutes
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := installed(name))},
        "revision": source_revision(),
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith("CIFAR_")},
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
