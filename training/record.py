"""What a run was asked to do, on what and with what: recipe.json, written before its first step for people to read.

Resuming compares with the checkpoint, which holds the same; nothing reads this file back.
"""

import json
import platform
import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import torch

from cifar_models.atomic import saving
from training.precision import computes_in
from training.run import Run
from training.trainer import Trainer


def write_record(run: Run, trainer: Trainer) -> None:
    """Raises InputError when the run folder cannot be written."""
    record = {
        "command": shlex.join(["python", "-m", "training.fit", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": asdict(run.recipe),
        "data": {
            "name": run.data_name,
            "sha256": run.data_fingerprint,
            "labels": list(run.data.classes),
            "training_images": len(run.training),
            "validation_images": len(run.validation),
        },
        "source_revision": run.source_revision,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "device": str(trainer.device),
        "computes_in": computes_in(trainer.dtype, trainer.device),
        "processes": trainer.world.size,
    }
    with saving(run.folder / "recipe.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")
