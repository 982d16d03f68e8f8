"""Export a checkpoint: python -m export RUN/best.pt --out models/NAME [--data DIR]."""

import argparse
import re
from pathlib import Path

from cifar_models.errors import InputError, run_command
from export.bundle import export_bundle
from export.source import load_source

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Turn a checkpoint into a bundle: ONNX, int8 ONNX and TorchScript, each proved equal to it.",
    )
    parser.add_argument("checkpoint", type=Path, help="such as runs/cifarnet/best.pt")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, such as models/cifarnet")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data it was trained on (default: data)")
    options = parser.parse_args()
    if not _NAME.fullmatch(options.out.name):
        raise InputError(
            f"--out {options.out}: a bundle's name has letters, digits, dots, dashes and underscores only."
        )
    if options.out.exists() and not (options.out / "manifest.json").exists():
        raise InputError(f"--out {options.out} exists and is no bundle; it would be replaced. Name another folder.")
    manifest = export_bundle(load_source(options.checkpoint, options.data), options.out)
    print(f"\n{options.out}: {sum(file.bytes for file in (manifest.golden, *manifest.artifacts)) / 1e6:.1f} MB. Next:")
    print(f"  make serve, with CIFAR_MODEL={options.out.name} if it is not the default")


if __name__ == "__main__":
    run_command(main)
