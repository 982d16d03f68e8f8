"""Narrowing a trained network: of each stage's inner channels go those that the others can best stand in for."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_models.cifarnet import CifarNet, Stage

_TAPS = 9  # weights of a 3x3 filter for one of its inputs
_RIDGE = 1e-4  # of the mean square of the inputs: keeps the least squares solvable where channels are nearly alike
_PART = 50  # images at a time: a stage's columns of so many take 40 MB
_PLACES = 40  # of an image, at which a convolution's inputs are looked at


def narrowed_like(network: nn.Module, other: nn.Module, images: Tensor) -> CifarNet | None:
    """`network` narrowed to the shape of `other`, as by `narrow`; None when more than inner channels differs."""
    if not (isinstance(network, CifarNet) and isinstance(other, CifarNet)):
        return None
    if (network.widths, network.fc.out_features) != (other.widths, other.fc.out_features):
        return None
    if any(now < then for now, then in zip(network.inner, other.inner, strict=True)):
        return None
    return narrow(network, other.inner, images)


@torch.no_grad()
def narrow(network: CifarNet, inner: tuple[int, int, int], images: Tensor) -> CifarNet:
    """A copy of the trained `network`, on the CPU, whose stages have `inner` channels, in eval mode.

    `images` are some hundreds of training images, normalised, float32 [n, 3, 32, 32]: what the second convolution of
    a pair makes of them shall change as little as it can, so its weights for the channels that stay are fitted anew by
    least squares (He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks"). The channels go one
    by one, each time the one whose loss these weights can best make up for: the optimal brain surgeon (Hassibi and
    Stork 1993), for nine weights of each filter at a time. What is lost all the same is for further training.
    """
    narrowed = deepcopy(network).cpu().eval()
    narrowed.inner = inner
    x = narrowed.activation(narrowed.stem(images))
    for stage, channels in zip(narrowed.stages, inner, strict=True):
        assert isinstance(stage, Stage)
        if channels < stage.conv3.in_channels:
            narrow_stage(stage, channels, x)
        x = stage(x)
    return narrowed.eval()


def narrow_stage(stage: Stage, channels: int, x: Tensor) -> None:
    """Leave `channels` between the pair of the stage that takes `x` [n, in_channels, size, size]."""
    first, norm, second = stage.conv2, stage.bn2, stage.conv3
    kept, weights = eliminate(gram(stage, x), second.weight.flatten(1).T.double(), channels)
    stage.conv2 = nn.Conv2d(first.in_channels, channels, 3, padding=1, bias=False)
    stage.conv2.weight.copy_(first.weight[kept])
    stage.bn2 = nn.BatchNorm2d(channels).eval()
    stage.bn2.load_state_dict({name: value[kept] if value.ndim else value for name, value in norm.state_dict().items()})
    stage.conv3 = nn.Conv2d(channels, second.out_channels, 3, padding=1, bias=False)
    stage.conv3.weight.copy_(weights.T.reshape(stage.conv3.weight.shape))


def gram(stage: Stage, x: Tensor) -> Tensor:
    """The Gram matrix of what the pair's second convolution multiplies, at some places: float64 [inputs, inputs]."""
    generator = torch.Generator().manual_seed(0)
    size = stage.conv3.in_channels * _TAPS
    total = torch.zeros((size, size), dtype=torch.float64)
    for part in torch.split(x, _PART):
        columns = F.unfold(stage.inside(stage.widen(part)), 3, padding=1).transpose(1, 2).flatten(0, 1)
        some = columns[torch.randperm(len(columns), generator=generator)[: _PLACES * len(part)]].double()
        total += some.T @ some
    return total


def eliminate(gram: Tensor, weights: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Which `keep` channels stay, [keep], and their weights [keep * 9, outputs], of `weights` [channels * 9, outputs].

    With H the inputs' Gram matrix and a ridge, which pulls towards the weights as they were trained, a channel that
    goes costs the sum of w' (H⁻¹)⁻¹ w over the outputs, where w and H⁻¹ are the parts that belong to it; the weights
    of the others, and H⁻¹, follow by block elimination.
    """
    ridge = _RIDGE * gram.diagonal().mean().clamp(min=1e-30)  # a stage that is dead has a Gram matrix of zeros
    inverse = torch.linalg.inv(gram + ridge * torch.eye(len(gram)))
    kept = torch.arange(len(weights) // _TAPS)
    while len(kept) > keep:
        each = torch.arange(len(weights)).view(-1, _TAPS)
        own = weights.view(len(kept), _TAPS, -1)
        blocks = inverse[each[:, :, None], each[:, None, :]]  # [channels, 9, 9]
        costs = (own * torch.linalg.solve(blocks, own)).sum((1, 2))
        gone = int(costs.argmin())
        rest = torch.cat([each[:gone], each[gone + 1 :]]).flatten()
        across = inverse[rest][:, each[gone]]
        weights = weights[rest] - across @ torch.linalg.solve(blocks[gone], own[gone])
        inverse = inverse[rest][:, rest] - across @ torch.linalg.solve(blocks[gone], across.T)
        kept = torch.cat([kept[:gone], kept[gone + 1 :]])
    return kept, weights
