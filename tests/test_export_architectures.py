"""Every registered network, with fresh weights, can be exported: its ONNX and TorchScript files pass the gate."""

import pytest

from cifar_models.registry import list_models
from export.architectures import check_architecture

BATCHES = (0, 1, 2)  # python -m export --all-architectures takes more


@pytest.mark.parametrize("name", list_models())
def test_exported_files_of_a_network_agree_with_it(name: str) -> None:
    found = check_architecture(name, batches=BATCHES)
    assert found.keys() == {"onnx-fp32", "torchscript-fp32"}
    assert all(check.passed for parity in found.values() for check in parity.checks)
