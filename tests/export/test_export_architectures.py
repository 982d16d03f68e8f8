"""Every registered network, with fresh weights, can be exported: its ONNX and TorchScript files pass the gate.

One that has no layer that others have not, but more of them or wider ones, is left to
`python -m export --all-architectures`.
"""

import re

import pytest
import torch
from networks import COVERED, NETWORKS

from cifar_models.registry import create_model
from export.architectures import check_architecture

BATCHES = (0, 1, 2)  # the command takes more


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_files_of_a_network_agree_with_it(name: str) -> None:
    found = check_architecture(name, batches=BATCHES)
    assert found.keys() == {"onnx-fp32", "torchscript-fp32"}
    assert all(check.passed for parity in found.values() for check in parity.checks)


@pytest.mark.parametrize(("name", "others"), COVERED.items())
def test_a_network_that_is_left_out_has_no_layer_that_the_others_lack(name: str, others: list[str]) -> None:
    assert layers(name) <= set[str]().union(*map(layers, others))
    assert set(others) <= set(NETWORKS)


def layers(name: str) -> set[str]:
    """Each with its options, but for how many channels it has."""
    with torch.device("meta"):
        network = create_model(name, num_classes=10)
    kinds = (repr(module) for module in network.modules() if not list(module.children()))
    return {re.sub(r"^(\w+\()(in_features=)?\d+(, (out_features=)?\d+)?", r"\1", kind) for kind in kinds}
