"""Every registered network, with fresh weights, can be exported: its ONNX and TorchScript files pass the gate.

One that has no layer that a smaller one has not, but more of them, is left to `python -m export --all-architectures`.
"""

from collections.abc import Iterator

import pytest
import torch

from cifar_models.registry import create_model, list_models
from export.architectures import check_architecture

BATCHES = (0, 1, 2)  # the command takes more


def smallest_of_their_layers() -> Iterator[str]:
    found: dict[frozenset[str], tuple[int, str]] = {}
    for name in list_models():
        with torch.device("meta"):
            modules = list(create_model(name, num_classes=10).modules())
        layers = frozenset(repr(module) for module in modules if not list(module.children()))
        found[layers] = min(found.get(layers, (len(modules), name)), (len(modules), name))
    return (name for _, name in found.values())


@pytest.mark.parametrize("name", list(smallest_of_their_layers()))
def test_exported_files_of_a_network_agree_with_it(name: str) -> None:
    found = check_architecture(name, batches=BATCHES)
    assert found.keys() == {"onnx-fp32", "torchscript-fp32"}
    assert all(check.passed for parity in found.values() for check in parity.checks)
