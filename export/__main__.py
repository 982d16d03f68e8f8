"""Export a checkpoint: python -m export RUN/best.pt --out models/NAME [--data DIR]."""

import argparse
import os
import re
import shlex
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from cifar_models.command import Parser, run_command
from cifar_models.errors import InputError
from cifar_models.manifest import License
from cifar_models.presence import is_there
from export.architectures import check_all_architectures
from export.bundle import export_bundle
from export.figures import accuracy_table, as_text, parity_table, size_text
from export.folder import is_bundle
from export.formats import FORMATS, SERVED
from export.source import load_source

BUNDLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def main() -> None:
    options = parse_options()
    if options.all_architectures:
        if options.checkpoint or options.out or options.license or options.formats != list(FORMATS):
            raise InputError("--all-architectures checks fresh weights and makes no bundle; give it alone.")
        for line in check_all_architectures():
            print(line, flush=True)
        return
    check_options(options)
    source = load_source(options.checkpoint, options.data)
    manifest = export_bundle(
        source, options.out, cuda=torch.cuda.is_available(), formats=options.formats, license_=options.license
    )
    print(f"\n{as_text(parity_table(manifest))}\n\n{as_text(accuracy_table(manifest))}\n")
    print(f"{options.out}: {size_text(sum(file.bytes for file in manifest.files))}. Next:")
    print(f"  make serve, with {describe_settings(options.out)}")


def describe_settings(bundle: Path) -> str:
    """What the server must be told to serve it."""
    model = f"CIFAR_MODEL={bundle.name}"
    if bundle.parent.resolve() == Path("models").resolve():
        return f"{model} if it is not the default"
    return f"CIFAR_BUNDLES={shlex.quote(str(bundle.parent))} and {model}"


def parse_options() -> argparse.Namespace:
    parser = Parser(
        prog="python -m export",
        description="Turn a checkpoint into a bundle: ONNX, TorchScript and more, each proved equal to it.",
    )
    parser.add_argument("checkpoint", type=Path, nargs="?", help="such as runs/cifarnet/best.pt")
    parser.add_argument("--out", type=Path, help="folder of the bundle, such as models/cifarnet")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data it was trained on (default: data)")
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=list(FORMATS),
        default=list(FORMATS),
        metavar="FORMAT",
        help=f"the files to make (default: all; {', '.join(FORMATS)})",
    )
    parser.add_argument(
        "--license",
        type=spdx,
        metavar="NAME",
        help="of weights and files, an SPDX identifier such as CC-BY-4.0, which they and the card then state "
        "(default: they state none)",
    )
    parser.add_argument(
        "--all-architectures",
        action="store_true",
        help="instead: check that every registered network, with fresh weights, can be exported",
    )
    return parser.parse_args()


def spdx(text: str) -> str:
    """The type of an option."""
    try:
        return TypeAdapter(License).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is no SPDX identifier, such as CC-BY-4.0") from None


def check_options(options: argparse.Namespace) -> None:
    if options.checkpoint is None or options.out is None:
        raise InputError("Name a checkpoint and a folder: python -m export runs/NAME/best.pt --out models/NAME.")
    if not BUNDLE_NAME.fullmatch(options.out.name):
        raise InputError(
            f"--out {options.out}: a bundle's name has letters, digits, dots, dashes and underscores only."
        )
    try:
        precious = is_there(options.out) and not is_bundle(options.out)
    except OSError as error:  # such as of too long a name
        raise InputError(f"--out {options.out} cannot be used ({error.strerror}); name another folder.") from error
    if precious:
        raise InputError(f"--out {options.out} exists and is no bundle; it would be replaced. Name another folder.")
    out = Path(os.path.realpath(options.out.parent), options.out.name)  # what a link in its place points to stays
    if out in Path(os.path.realpath(options.checkpoint)).parents:
        raise InputError(f"{options.checkpoint} would go with what is replaced in --out {options.out}; move it first.")
    options.formats = [key for key in FORMATS if key in options.formats]
    if not SERVED & {*options.formats}:
        raise InputError(f"--formats {' '.join(options.formats)} alone would be served by nothing; add onnx-fp32.")


if __name__ == "__main__":
    run_command(main)
