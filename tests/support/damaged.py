"""Copies of a bundle with something wrong in them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Manifest = dict[str, Any]


def copy_bundle(bundle: Path, folder: Path) -> Path:
    return Path(shutil.copytree(bundle, folder))


def flip_bit(path: Path) -> None:
    """In the middle of the file; its length stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit_manifest(bundle: Path, change: Callable[[Manifest], object]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("checksum", None)  # or nothing would be found but that somebody edited it
    change(manifest)
    path.write_text(json.dumps(manifest))


def describe(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def contradict_golden(bundle: Path, *keys: str) -> None:
    """Make golden.npz promise other probabilities, of these artifacts or of all; the manifest knows its new hash."""
    path = bundle / "golden.npz"
    with np.load(path) as golden:
        arrays = dict(golden)
    for key in keys or set(arrays) - {"images"}:
        arrays[key] = arrays[key][:, ::-1]
    np.savez(path, allow_pickle=False, **arrays)
    edit_manifest(bundle, lambda manifest: manifest.update(golden=describe(path)))
