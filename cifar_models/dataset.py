"""Labelled images in memory, from the official CIFAR-10 files or from image folders."""

import hashlib
import os
import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_models.cifar10 import IMAGE_SHAPE, LABELS
from cifar_models.errors import InputError, reason
from cifar_models.picture import Pixels, to_pixels
from cifar_models.presence import is_there
from cifar_models.text import is_text

Split = Literal["train", "test"]
Indices = npt.NDArray[np.int64]

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_OTHER_PICTURES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
_NOBODYS = {"thumbs.db", "desktop.ini"}  # what a system leaves in folders of pictures
_NAMED = 10  # files that are at fault, in one line
_OFFICIAL_FOLDER = "cifar-10-batches-py"
_OFFICIAL_ARCHIVE = "cifar-10-python.tar.gz"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images uint8 [n, 32, 32, 3] RGB and their labels int64 [n], indices into `classes`."""

    images: Pixels
    labels: Indices
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Indices) -> "ImageSet":
        return ImageSet(self.images[indices], self.labels[indices], self.classes)

    def sample(self, count: int) -> "ImageSet":
        """`count` of them, at random, as they may be sorted by label, and always the same; all when there are fewer."""
        return self.subset(np.random.default_rng(0).permutation(len(self))[:count])

    def count_in(self, others: "ImageSet") -> int:
        """How many of these are, pixel for pixel, among the others too, under whatever label."""
        known = {hash(image.tobytes()) for image in others.images}
        return sum(hash(image.tobytes()) in known for image in self.images)

    def fingerprint(self) -> str:
        """The sha256 of classes, labels and pixels: the same data in the same order has the same fingerprint."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(np.ascontiguousarray(self.labels).data)
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()


def load_images(root: Path, split: Split, *, download: bool = False) -> ImageSet:
    """Read one split of the data under `root`.

    `root` holds either folders `train/<class>/*` and `test/<class>/*` of PNG or JPEG files, or the official
    `cifar-10-batches-py` folder or its `cifar-10-python.tar.gz` (which `download` fetches when `root` is empty or
    absent).

    Raises InputError when there are no such data, or when a file is corrupt.
    """
    try:
        return _load(root, split, download)
    except OSError as error:
        raise InputError(f"{error.filename or root} cannot be read: {error.strerror or error}.") from error


def default_name(root: Path) -> str:
    """What figures on the images of `load_images(root, "train")` call them when nobody says: "CIFAR-10" or its folder.

    It is CIFAR-10 where the official files answer, which are held to their md5.
    """
    return f"images in {root.absolute().name}" if (root / "train").is_dir() else "CIFAR-10"


def describe_left_out(folder: Path) -> str:
    """How many files in the label folders of `folder`, such as data/train, `load_images` did not take for pictures.

    One line, with their endings; empty when there are none.
    """
    names = [path.name for path in folder.glob("[!.]*/[!.]*") if path.suffix.lower() not in _SUFFIXES]
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in names if name.lower() not in _NOBODYS)
    found = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(_NAMED))
    return f"Left out of {folder}, as neither PNG nor JPEG by their names: {found}." if found else ""


def _load(root: Path, split: Split, download: bool) -> ImageSet:
    if (root / split).is_dir():
        _check_classes(root)
        return _load_folders(root / split)
    others = [name for name in ("train", "test") if (root / name).is_dir()]
    if others:
        raise InputError(f"{root} has {others[0]}/ but no {split}/; put folders {split}/<class>/ there too.")
    if root.name in (_OFFICIAL_FOLDER, _OFFICIAL_ARCHIVE):
        root = root.parent
    elif root.is_file():
        raise InputError(f"{root} is neither a folder of data nor {_OFFICIAL_ARCHIVE}.")
    return _load_official(root, split, download)


def _check_classes(root: Path) -> None:
    """A class that only one split has is one that somebody forgot: it would shift the labels of all after it."""
    found = {split: _class_names(root / split) for split in ("train", "test") if (root / split).is_dir()}
    for split, names in found.items():
        for name in sorted(set().union(*found.values()).difference(names)):
            raise InputError(f"{root / split} has no folder {name}, the other split has one; put pictures there.")


def _load_folders(folder: Path) -> ImageSet:
    classes = tuple(sorted(_class_names(folder)))
    for name in classes:
        if not is_text(name):
            raise InputError(f"{folder} has a folder {name!r}, which is no text to call a label by; rename it.")
    if len(classes) < 2:
        raise InputError(f"{folder} holds {len(classes)} class folders; put at least two there, one for each label.")
    files = [(path, label) for label, name in enumerate(classes) for path in _pictures(folder / name)]
    images = _read_pictures([path for path, _ in files])
    return ImageSet(images, np.array([label for _, label in files], np.int64), classes)


def _class_names(folder: Path) -> list[str]:
    """Of what a class is called by; a hidden folder is some program's own."""
    return [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _pictures(folder: Path) -> list[Path]:
    """Hidden files are some program's own, as the ._NAME.png that macOS leaves beside each picture on other disks.

    Raises InputError for what somebody may take for a picture of the label, and would not be one.
    """
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    paths = [path for path in found if path.suffix.lower() in _SUFFIXES]
    others = [path for path in found if path.suffix.lower() in _OTHER_PICTURES]
    _check([f"{path} is neither PNG nor JPEG, and would be left out" for path in others], "convert or remove")
    for path in found:
        if path.suffix.lower() not in _SUFFIXES and path.is_dir():
            raise InputError(f"{path} is a folder, and its pictures would be left out; put them into {folder}.")
    if not paths:
        raise InputError(f"{folder} holds no picture; put .png or .jpg files there or remove the folder.")
    return paths


def _read_pictures(paths: list[Path]) -> Pixels:
    """Pixels uint8 [n, 32, 32, 3]. Shows a bar where somebody waits, as photographs take a tenth of a second each."""
    from tqdm import tqdm  # the server, which reads no folders, does without it

    images = np.empty((len(paths), *IMAGE_SHAPE), np.uint8)

    def read(index: int) -> str | None:
        try:
            with Image.open(paths[index]) as picture:
                images[index] = to_pixels(picture)
        except Image.DecompressionBombError as error:  # whose words tell of an attack
            numbers = ", at most ".join(re.findall(r"\d+", str(error)))
            return f"{paths[index]} has too many pixels to be read ({numbers}); shrink it"
        except Exception as error:  # of damaged data Pillow raises nearly anything
            return f"{paths[index]} is not a readable picture ({reason(error)})"
        return None

    hidden = os.environ.get("RANK", "0") != "0" or None  # torchrun's: one process's bar is enough, on a terminal
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        done = pool.map(read, range(len(paths)))
        bar = tqdm(done, "reading pictures", len(paths), unit=" img", leave=False, delay=1, disable=hidden)
        _check([fault for fault in bar if fault], "replace or remove")
    return images


def _check(faults: list[str], way_out: str) -> None:
    """Name what is wrong all at once, or as much of it as one line holds: who has many files would come once for each.

    Raises InputError where anything is.
    """
    if faults:
        others = len(faults) - _NAMED
        more = f"; and {others} more" if others > 0 else ""
        which = "it" if len(faults) == 1 else "them"
        raise InputError(f"{'; '.join(faults[:_NAMED])}{more}; {way_out} {which}.")


def _load_official(root: Path, split: Split, download: bool) -> ImageSet:
    # Imported here, because torchvision loads torch and the server must not.
    from torchvision.datasets import CIFAR10

    way_out = (
        f"Put a whole {_OFFICIAL_FOLDER}/ or {_OFFICIAL_ARCHIVE} there, or image folders {split}/<class>/*.png, "
        "or name another folder with --data."
    )
    folder, archive = root / _OFFICIAL_FOLDER, root / _OFFICIAL_ARCHIVE
    if not (is_there(folder) or is_there(archive) or (download and _is_empty(root))):
        raise InputError(f"There are no data in {root}. {way_out}")
    try:
        data = _open_official(CIFAR10, root, split, download)
    except OSError as error:
        raise InputError(f"No usable data in {root} ({error}). {way_out}") from error
    except RuntimeError as error:  # whose text advises an argument of torchvision's
        raise InputError(
            f"No usable data in {root}: files are missing or corrupted (by their md5). {way_out}"
        ) from error
    return ImageSet(data.data, np.array(data.targets, np.int64), LABELS)


def _open_official(kind: Any, root: Path, split: Split, download: bool) -> Any:
    """torchvision's data set, of the folder, or of the archive if that is whole, or else of one that is fetched.

    Every md5 is checked before unpickling. Raises RuntimeError or OSError.
    """
    from torchvision.datasets.utils import check_integrity

    try:
        return kind(root, train=split == "train")
    except RuntimeError:
        if not (download or check_integrity(str(root / _OFFICIAL_ARCHIVE), kind.tgz_md5)):
            raise
        return kind(root, train=split == "train", download=True)


def _is_empty(root: Path) -> bool:
    """Or absent. In a folder with something else somebody looks for other images than CIFAR-10's."""
    return not is_there(root) or all(path.name.startswith(".") for path in root.iterdir())


def split_validation(data: ImageSet, share: float, seed: int) -> tuple[Indices, Indices]:
    """Cut `share` of each class off for validation: sorted indices (training, validation), the same for a seed.

    Raises InputError when a class would be left without images on one side.
    """
    generator = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(data.labels):
        members = np.flatnonzero(data.labels == label)
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise InputError(
                f"validation={share} would hold out {count} of the {len(members)} images of {data.classes[label]!r}, "
                "and training and validation need one each at least; add images, or choose another share."
            )
        held_out.append(generator.permutation(members)[:count])
    validation = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(data)), validation), validation
