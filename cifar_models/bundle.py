"""A bundle on disk: a folder with a manifest and the files that it names, each with the right hash."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from cifar_models.errors import InputError
from cifar_models.manifest import Artifact, File, Manifest
from cifar_models.picture import Pixels

MANIFEST = "manifest.json"
_BLANK = "0" * 64  # where the checksum will stand

Probabilities = npt.NDArray[np.float32]


class BundleError(InputError):
    """A bundle that must not be served, and why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files are those of its manifest."""

    folder: Path
    manifest: Manifest

    def path(self, file: File) -> Path:
        return self.folder / file.file

    def check_golden(self, artifact: Artifact, classify: Callable[[Pixels], Probabilities], *, atol: float) -> None:
        """Classify the golden images and compare; BundleError when any probability is off by more than `atol`."""
        with np.load(self.path(self.manifest.golden), allow_pickle=False) as golden:
            images, expected = golden["images"], golden[artifact.key]
        found = classify(images)
        if found.shape != expected.shape or found.shape[1] != len(self.manifest.labels):
            raise BundleError(
                f"{self.path(artifact)} gave outputs {found.shape} for {len(images)} golden images and "
                f"{len(self.manifest.labels)} labels; the bundle is not of one piece, export it again."
            )
        difference = np.abs(found - expected).max()
        if not difference <= atol:  # not `>`: NaN must fail too
            raise BundleError(
                f"{self.path(artifact)} fails its golden images: probabilities differ by up to {difference:.2g} "
                f"(allowed: {atol:.2g}). It does not compute here what it computed when it was exported."
            )


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest and check every file against it.

    Raises BundleError when the manifest is missing or wrong, or a file is missing or differs.
    """
    bundle = Bundle(folder, read_manifest(folder))
    for file in bundle.manifest.files:
        check_file(bundle.path(file), file)
    return bundle


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write manifest.json with a checksum of itself: all files have one there, and it would be the only one without."""
    text = manifest.model_copy(update={"checksum": _BLANK}).to_json()
    text = text.replace(_BLANK, hashlib.sha256(text.encode()).hexdigest())
    (folder / MANIFEST).write_bytes(text.encode())  # as JSON is UTF-8, whatever the locale


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate_json(content)
    except OSError as error:
        raise BundleError(
            f"{folder} holds no readable {MANIFEST} ({error.strerror}); `python -m export` makes one."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BundleError(f"{path} is not a valid manifest: {where}: {first['msg']}.") from error
    if manifest.checksum is not None:
        written = content.replace(manifest.checksum.encode(), _BLANK.encode())
        if hashlib.sha256(written).hexdigest() != manifest.checksum:
            raise BundleError(f"{path} was changed since it was written: its checksum is another; export it again.")
    return manifest


def check_file(path: Path, expected: File) -> None:
    try:
        size, found = path.stat().st_size, sha256(path)
    except OSError as error:
        raise BundleError(f"{path} is named in the manifest but cannot be read ({error.strerror}).") from error
    if size != expected.bytes:
        raise BundleError(f"{path} has {size} bytes, the manifest says {expected.bytes}; export it again.")
    if found != expected.sha256:
        raise BundleError(
            f"{path} has sha256 {found[:12]}…, the manifest says {expected.sha256[:12]}…; export it again."
        )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
