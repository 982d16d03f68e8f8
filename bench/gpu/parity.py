"""The export's gate on the device: every file that CUDA runs, in every arithmetic, against eager PyTorch on the CPU."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.gpu import training
from bench.gpu.context import Context
from bench.gpu.record import Outcome
from cifar_models.errors import reason
from cifar_models.manifest import Arithmetic, Parity, Unproved
from export.bundle import write_files
from export.cuda import check_in
from export.formats import FORMATS, open_runner
from export.parity import Evidence, check_parity
from export.reference import build_reference
from export.source import load_source

_RECIPE = ("cifarnet", "seed003-lenet")


def inputs(context: Context) -> dict[str, Any]:
    return training.inputs(context, context.pick(_RECIPE))


def run(context: Context) -> Outcome:
    name = context.pick(_RECIPE)
    try:
        folder = training.train(context, name)
    except training.Unfinished as error:
        return Outcome({}, [f"it compares a checkpoint of the recipe {name}, and there is none: {error}"])
    source = load_source(folder / "best.pt", context.data)
    reference = build_reference(source.checkpoint, source.validation)
    evidence = Evidence(reference, source.validation)
    keys = [key for key, format_ in FORMATS.items() if format_.arithmetics]
    agreed, missing = [], []
    with TemporaryDirectory(prefix="bench-parity-") as written:
        write_files(reference, source, Path(written), keys, {})
        for key in keys:
            path = Path(written) / FORMATS[key].file
            for arithmetic in FORMATS[key].arithmetics if context.cuda else ("fp32",):
                try:
                    found = check(context, arithmetic, key, path, evidence)
                except Exception as error:  # it does not agree, or a library broke: the next file may do without
                    missing.append(f"{key} in {arithmetic}: {reason(error)}")
                    continue
                if isinstance(found, Parity):
                    agreed.append(describe(key, found))
                else:
                    missing.append(f"{key} in {arithmetic}: {found.reason}")
    return Outcome({"recipe": name, "images": len(source.validation), "agreed": agreed} if agreed else {}, missing)


def check(context: Context, arithmetic: Arithmetic, key: str, path: Path, evidence: Evidence) -> Parity | Unproved:
    """As the export does. Raises ParityError."""
    opener = partial(open_runner, key, path)
    return check_in(arithmetic, key, opener, evidence) if context.cuda else check_parity(key, opener, evidence).parity


def describe(key: str, parity: Parity) -> dict[str, Any]:
    checks = {check.name: [check.difference, check.allowed] for check in parity.checks}
    return {"file": key, "arithmetic": parity.arithmetic, "provider": parity.provider, "checks": checks}
