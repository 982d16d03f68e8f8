"""The zip archives that torch writes, of TorchScript and of torch.export: the texts beside the network in them."""

import json
from pathlib import Path
from zipfile import ZipFile

METADATA = "metadata.json"


def read_torch_metadata(path: Path) -> dict[str, str]:
    """What was written beside the network. It loads no network, which would take a second.

    Raises BadZipFile for a file of another kind, KeyError where nothing was written.
    """
    with ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        metadata: dict[str, str] = json.loads(archive.read(f"{folder}/extra/{METADATA}"))
    return metadata
