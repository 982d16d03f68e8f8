"""Ask a server for the labels of picture files, and of whole folders of them: a line of CSV for each."""

import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from cifar_models.command import Parser, run_command
from cifar_models.errors import InputError
from cifar_models.presence import is_there
from serving.client.clients import Client
from serving.client.errors import ClassifyError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
_TOGETHER = 64  # pictures; where one of them is refused, each is asked for alone
_YES_OR_NO = {None: "", False: "false", True: "true"}


class Row(NamedTuple):
    """What is known of one file."""

    path: Path
    label: str = ""
    probability: str = ""
    confident: str = ""  # nothing: the bundle does not say
    model: str = ""  # which answered, and its version: it may be replaced meanwhile
    error: str = ""


def main() -> int:
    key = "A key that the server wants is read from CIFAR_API_KEY."
    parser = Parser(prog="python -m serving.client", description=__doc__, epilog=key)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a picture, or a folder of them")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="of the server (default: %(default)s)")
    parser.add_argument("--model", help="a bundle (default: the server's)")
    options = parser.parse_args()
    paths = [path for given in options.paths for path in find_pictures(given)]
    try:
        with Client(options.url, api_key=os.environ.get("CIFAR_API_KEY")) as client:
            missing = write_labels(client, paths, options.model)
    except ClassifyError as error:
        raise InputError(str(error)) from error
    if missing:
        print(f"{missing} of {len(paths)} pictures have no label; the last column says why.", file=sys.stderr)
    return int(missing > 0)


def find_pictures(path: Path) -> list[Path]:
    """The file itself, or the pictures of a folder and of those in it, in order; hidden ones are left out.

    Raises InputError where nothing is.
    """
    try:
        if not is_there(path):
            raise InputError(f"{path} is not there; name a picture, or a folder of them.")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
    if not path.is_dir():
        return [path]
    inside = (found.relative_to(path) for found in path.rglob("*") if found.suffix.lower() in _SUFFIXES)
    pictures = [path / each for each in sorted(inside) if not any(part.startswith(".") for part in each.parts)]
    if not pictures:
        raise InputError(f"{path} holds no picture: no file that ends with {', '.join(sorted(_SUFFIXES))}.")
    return pictures


def write_labels(client: Client, paths: Sequence[Path], model: str | None) -> int:
    """A row for each, as it comes; returns how many have no label. Raises ClassifyError for what is no picture's."""
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="surrogateescape")  # a file's name need not be UTF-8
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(Row._fields)
    missing = 0
    for start in range(0, len(paths), _TOGETHER):
        rows = classify(client, paths[start : start + _TOGETHER], model)
        missing += sum(bool(row.error) for row in rows)
        table.writerows(rows)
        sys.stdout.flush()
    return missing


def classify(client: Client, paths: Sequence[Path], model: str | None) -> list[Row]:
    try:
        answer = client.classify(paths, model=model, top_k=1)
    except ClassifyError as error:
        if error.index is None:
            raise
        if len(paths) > 1:
            return [row for path in paths for row in classify(client, [path], model)]
        return [Row(paths[0], error=error.message)]
    named = f"{answer.model.name} {answer.model.version}"
    return [
        Row(path, found.label, f"{found.probability:.6f}", _YES_OR_NO[found.confident], named)
        for path, found in zip(paths, answer.predictions, strict=True)
    ]


if __name__ == "__main__":
    run_command(main)
