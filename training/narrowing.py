"""Narrowing a trained network: of each stage's inner channels go those that the others can best stand in for."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_models.cifarnet import CifarNet, Stage

_TAPS = 9  # weights of a 3x3 filter for one of its inputs
_PLACES = 40  # of an image, at which a convolution's sum is looked at
_RIDGE = 1e-4  # of the mean square of the inputs: keeps the least squares solvable where channels are nearly alike


def narrowed_like(network: nn.Module, other: nn.Module, images: Tensor) -> CifarNet | None:
    """The trained `network` narrowed to the shape of `other`; None when that takes more than narrowing stages."""
    if not (isinstance(network, CifarNet) and isinstance(other, CifarNet) and network.widths == other.widths):
        return None
    if any(now < then for now, then in zip(network.inner, other.inner, strict=True)):
        return None
    return narrow(network, other.inner, images)


@torch.no_grad()
def narrow(network: CifarNet, inner: tuple[int, int, int], images: Tensor) -> CifarNet:
    """A copy of the trained `network` whose stages have `inner` channels, at most as many as now, in eval mode.

    `images` are some hundreds of training images, normalised, float32 [n, 3, 32, 32]: what the second convolution of
    a pair makes of them shall change as little as it can, so its weights for the channels that stay are fitted anew by
    least squares (He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks"). The channels go one
    by one, each time the one whose loss these weights can best make up for: the optimal brain surgeon (Hassibi and
    Stork 1993), for nine weights of each filter at a time. What is lost all the same is for further training.
    """
    narrowed = deepcopy(network).eval()
    narrowed.inner = inner
    x = narrowed.activation(narrowed.stem(images))
    for stage, channels in zip(narrowed.stages, inner, strict=True):
        assert isinstance(stage, Stage)
        if channels < stage.conv3.in_channels:
            narrow_stage(stage, channels, patches(stage, x))
        x = stage(x)
    return narrowed


def patches(stage: Stage, x: Tensor) -> Tensor:
    """What the pair's second convolution multiplies, at some places of the stage's input `x`: [n, channels * 9]."""
    inside = stage.activation(stage.bn1(stage.pool(stage.conv1(x))))
    inside = stage.activation(stage.bn2(stage.conv2(inside)))
    columns = F.unfold(inside, 3, padding=1)  # [images, channels * 9, places]
    places = torch.randperm(columns.shape[2], generator=torch.Generator().manual_seed(0))[:_PLACES]
    return columns[:, :, places].transpose(1, 2).flatten(0, 1)


def narrow_stage(stage: Stage, channels: int, inputs: Tensor) -> None:
    """Leave `channels` of those between the pair, given `inputs` [n, channels now * 9] of its second convolution."""
    out_channels = stage.conv3.out_channels
    kept, weights = eliminate(inputs.double(), stage.conv3.weight.flatten(1).T.double(), channels)
    first, norm = stage.conv2, stage.bn2
    stage.conv2 = nn.Conv2d(first.in_channels, channels, 3, padding=1, bias=False)
    stage.conv2.weight.copy_(first.weight[kept])
    stage.bn2 = nn.BatchNorm2d(channels).eval()
    stage.bn2.load_state_dict({name: value[kept] if value.ndim else value for name, value in norm.state_dict().items()})
    stage.conv3 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
    stage.conv3.weight.copy_(weights.T.reshape(stage.conv3.weight.shape))


def eliminate(inputs: Tensor, weights: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Which `keep` channels stay, [keep], and their weights [keep * 9, outputs], of `weights` [channels * 9, outputs].

    With H the inputs' Gram matrix, a channel that goes costs the sum of w' (H⁻¹)⁻¹ w over the outputs, where w and H⁻¹
    are the parts that belong to it; the weights of the others, and H⁻¹, follow by block elimination.
    """
    gram = inputs.T @ inputs
    inverse = torch.linalg.inv(gram + _RIDGE * gram.diagonal().mean() * torch.eye(len(gram)))
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
