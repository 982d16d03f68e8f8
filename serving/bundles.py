"""Bundles in memory: each with an engine that has proved itself on this machine."""

import logging
from dataclasses import dataclass
from pathlib import Path

from cifar_models.bundle import MANIFEST, Bundle, BundleError, open_bundle
from cifar_models.errors import InputError
from serving.device import has_cuda
from serving.engine import AUTO, ENGINES, Engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle whose golden images came out right on the engine that will answer."""

    bundle: Bundle
    engine_name: str
    engine: Engine

    @property
    def labels(self) -> list[str]:
        return self.bundle.manifest.labels

    def describe(self) -> dict[str, str]:
        """Name (of the folder), version (of the file that computes) and engine, as every answer states them."""
        artifact = self.bundle.manifest.find(ENGINES[self.engine_name].artifact)
        version = artifact.sha256[:12] if artifact else ""
        return {"name": self.bundle.folder.name, "version": version, "engine": self.engine_name}


def find_bundles(folder: Path) -> dict[str, Path]:
    """The bundle folders in `folder`, by name; InputError when there is none."""
    found = {path.parent.name: path.parent for path in sorted(folder.glob(f"[!.]*/{MANIFEST}"))}
    if not found:
        raise InputError(
            f"CIFAR_BUNDLES={folder} holds no bundle (a folder with {MANIFEST}); `python -m export` makes one."
        )
    return found


def load_bundle(folder: Path, engine: str, threads: int) -> LoadedBundle:
    """Open a bundle and start the engine named, or for "auto" the fastest that passes the golden images here.

    Raises BundleError when a file is not that of the manifest, or no engine passes.
    """
    bundle = open_bundle(folder)
    reasons = []
    for name in candidates(engine):
        try:
            return LoadedBundle(bundle, name, start_engine(bundle, name, threads))
        except Exception as error:  # an engine that is not installed, has no device, or computes something else
            reasons.append(f"{name}: {error}")
            logger.warning("Bundle %s: %s does not run here: %s", folder.name, name, error)
    raise BundleError(f"No engine can serve {folder}. {' '.join(reasons)}")


def candidates(engine: str) -> list[str]:
    if engine != AUTO:
        return [engine]
    cuda = has_cuda()
    return [name for name, kind in ENGINES.items() if cuda or not kind.cuda]


def start_engine(bundle: Bundle, name: str, threads: int) -> Engine:
    kind = ENGINES[name]
    artifact = bundle.manifest.find(kind.artifact)
    if artifact is None:
        raise BundleError(f"The bundle has no {kind.artifact}.")
    engine = kind.load(bundle.path(artifact), threads)
    bundle.check_golden(artifact, engine, atol=kind.atol)
    return engine
