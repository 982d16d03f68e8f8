"""Which channels narrowing takes from a network, and how the others make up for them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_models.cifarnet import CifarNet, Stage
from training.narrowing import eliminate, narrow, narrowed_like

WIDTHS = (24, 32, 40)
INNER = (12, 24, 40)


def test_each_channel_that_goes_is_the_one_that_least_squares_can_best_do_without() -> None:
    """Beside trying each: the error of what is left, and the ridge's pull towards the weights as they were."""
    generator = torch.Generator().manual_seed(0)
    inputs, weights = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((300, 45), (45, 4)))
    inputs[:, 9:18] = inputs[:, 27:36] + 0.1 * inputs[:, 9:18]  # one channel that another nearly repeats
    gram = inputs.T @ inputs
    penalty = gram + 1e-4 * gram.diagonal().mean() * torch.eye(45)
    left = list(range(5))
    while len(left) > 2:
        tried = [without(penalty, weights, [other for other in left if other != channel]) for channel in left]
        left.pop(min(range(len(left)), key=lambda index: tried[index][0]))
        kept, fitted = eliminate(gram, weights, len(left))
        assert kept.tolist() == left
        torch.testing.assert_close(fitted, without(penalty, weights, left)[1])
    assert len({1, 3} & set(left)) < 2


def without(penalty: Tensor, weights: Tensor, channels: list[int]) -> tuple[float, Tensor]:
    """The least of (v - w)' H (v - w) where v has nothing but `channels`, and v there."""
    rows = torch.cat([torch.arange(9 * channel, 9 * channel + 9) for channel in channels])
    fitted = torch.linalg.solve(penalty[rows][:, rows], penalty[rows] @ weights)
    difference = -weights
    difference[rows] += fitted
    return (difference * (penalty @ difference)).sum().item(), fitted


@torch.no_grad()
def test_a_narrowed_network_differs_less_than_one_that_lost_as_many_channels_without_more_ado() -> None:
    torch.manual_seed(0)
    network, x, others = CifarNet(WIDTHS, WIDTHS, 10).eval(), *torch.randn(2, 100, 3, 32, 32)
    narrowed, bare = narrow(network, INNER, x), narrow(network, WIDTHS, x)
    for stage, channels in zip(stages(bare), INNER, strict=True):
        stage.conv3.weight[:, channels:] = 0
    expected = network.stages(network.stem(others))
    less, more = (F.mse_loss(changed.stages(changed.stem(others)), expected) for changed in (narrowed, bare))
    assert less < more / 2
    assert tuple(stage.conv2.out_channels for stage in stages(narrowed)) == INNER
    assert not any(module.training for module in narrowed.modules())


def stages(network: CifarNet) -> list[Stage]:
    return [stage for stage in network.stages if isinstance(stage, Stage)]


def test_only_inner_channels_may_differ() -> None:
    x = torch.zeros(1, 3, 32, 32)
    wide = CifarNet(WIDTHS, WIDTHS, 10)
    assert narrowed_like(wide, CifarNet(WIDTHS, (24, 8, 40), 10), x) is not None
    for other in (CifarNet(WIDTHS, (32, 8, 40), 10), CifarNet((24, 32, 48), WIDTHS, 10), CifarNet(WIDTHS, WIDTHS, 9)):
        assert narrowed_like(wide, other, x) is None
