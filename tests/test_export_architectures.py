"""Registered networks, with fresh weights, can be exported: their ONNX and TorchScript files pass the gate."""

import os

import pytest

from cifar_models.registry import list_models
from export.architectures import check_architecture

# About a minute each; `python -m export --all-architectures` takes them too.
LARGE = {"alexnet_224", *(f"resnet{depth}{stem}" for depth in (101, 152) for stem in ("", "_imagenet_stem"))}


@pytest.mark.parametrize("name", list_models())
def test_exported_files_of_a_network_agree_with_it(name: str) -> None:
    if name in LARGE and "CIFAR_LARGE_TESTS" not in os.environ:
        pytest.skip("takes a minute; set CIFAR_LARGE_TESTS, or run python -m export --all-architectures")
    found = check_architecture(name)
    assert set(found) == {"onnx-fp32", "torchscript-fp32"}
    assert all(check.passed for parity in found.values() for check in parity.checks)
