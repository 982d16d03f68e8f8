"""Folding changes no answer, and leaves out what a convolution can do by itself."""

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from cifar_models.fold import fold_batch_norm
from cifar_models.registry import create_model


def pooled(scale: float, activation: nn.Module) -> nn.Sequential:
    norm = nn.BatchNorm2d(8)
    for values in (norm.bias, norm.running_mean):
        nn.init.normal_(values)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    nn.init.uniform_(norm.weight, 0.1, 1)
    with torch.no_grad():
        norm.weight[3] = scale
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), norm, activation)


@pytest.mark.parametrize(
    ("network", "kinds"),
    [
        (pooled(0.5, nn.ReLU()), [nn.Conv2d, nn.ReLU, nn.MaxPool2d]),
        (pooled(0.5, nn.GELU()), [nn.Conv2d, nn.MaxPool2d, nn.GELU]),  # falls, then rises
        (pooled(-0.5, nn.ReLU()), [nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.ReLU]),  # the least becomes the largest
        (pooled(0.0, nn.ReLU()), [nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.ReLU]),
    ],
)
def test_pooling_comes_after_what_only_rises_and_nothing_else(
    network: nn.Sequential, kinds: list[type[nn.Module]]
) -> None:
    images = torch.randn(16, 3, 32, 32)
    with torch.no_grad():
        expected = network.eval()(images)
        folded = fold_batch_norm(network)
        assert torch.allclose(folded(images), expected, atol=1e-5)
    assert isinstance(folded, GraphModule)
    called = [type(folded.get_submodule(node.target)) for node in folded.graph.nodes if node.op == "call_module"]
    assert called == kinds


def test_no_batch_norm_of_the_default_network_is_left() -> None:
    folded = fold_batch_norm(create_model("cifarnet", num_classes=10))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
