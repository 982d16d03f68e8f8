"""Registered networks, with fresh weights, can be exported: their ONNX and TorchScript files pass the gate."""

import os

import pytest

from cifar_models.registry import list_models
from export.architectures import check_architecture

# Those with a hundred layers take half a minute each as ONNX; python -m export --all-architectures takes them too.
DEEP = {f"resnet{depth}{stem}" for depth in (101, 152) for stem in ("", "_imagenet_stem")}
FORMATS = ("onnx-fp32", "torchscript-fp32")
BATCHES = (0, 1, 2)  # the command takes more


@pytest.mark.parametrize("name", list_models())
def test_exported_files_of_a_network_agree_with_it(name: str) -> None:
    formats = FORMATS[1:] if name in DEEP and "CIFAR_LARGE_TESTS" not in os.environ else FORMATS
    found = check_architecture(name, formats=formats, batches=BATCHES)
    assert tuple(found) == formats
    assert all(check.passed for parity in found.values() for check in parity.checks)
