"""The gate on this machine's CUDA device, in every arithmetic that a format is meant for.

On a device ONNX Runtime's files have passed; TorchScript's were refused, mended, and have not run there since.
"""

import re

from cifar_models.errors import reason
from cifar_models.manifest import Arithmetic, Parity, Unproved
from export.formats import FORMATS
from export.parity import Evidence, Opener, check_parity
from export.runner import Target

_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^/\s:\"']+/)+")  # of an absolute path, not of an address


def check_cuda(key: str, open_: Opener, evidence: Evidence) -> tuple[list[Parity], list[Unproved]]:
    """How the file agrees there, and where it could not be run at all. Raises ParityError, as `check_in` does."""
    found = [check_in(arithmetic, key, open_, evidence) for arithmetic in FORMATS[key].arithmetics]
    return (
        [each for each in found if isinstance(each, Parity)],
        [each for each in found if isinstance(each, Unproved)],
    )


def check_in(arithmetic: Arithmetic, key: str, open_: Opener, evidence: Evidence) -> Parity | Unproved:
    """How the file agrees there in one arithmetic, or why it could not be run at all.

    The second is no reason to refuse the file: libraries of the device may be missing here, and nothing is claimed.
    Raises ParityError when it runs there and differs by too much.
    """
    target = Target(device="cuda", arithmetic=arithmetic)
    try:
        open_(target)(evidence.extremes)  # some libraries are loaded by the first batch
    except Exception as error:  # each library raises its own
        return Unproved(arithmetic=arithmetic, reason=_FOLDERS.sub("", reason(error)))
    return check_parity(key, open_, evidence, target).parity
