"""The default network: a small residual network that pools early, for 32x32 images on two CPU cores.

The plan (whitened 2x2 stem, three stages that pool after their first convolution, a scaled linear head) is that of
airbench (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"); the widths, and the residual pair in every
stage (He et al. 2015), are ours. What lies between the pair's two convolutions may be narrower than the stage: that
is where `training.narrowing` takes channels from.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WHITENED = 2 * 3 * 2 * 2  # each principal patch of 2x2 RGB pixels, and its negative
_HEAD_SCALE = 1 / 9  # airbench's: keeps the first logits small without a small learning rate for the head
_LEAST_VARIANCE = 5e-4  # airbench's: added to each, so that directions of hardly any are not blown up


class Stage(nn.Module):
    """Widen and halve the resolution, then add a residual pair of 3x3 convolutions, `inner` channels between them."""

    def __init__(self, in_channels: int, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn1.weight.requires_grad_(False)  # stays 1: what only rises can be folded to before the pooling
        self.conv2 = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU(inplace=True)
        with torch.no_grad():  # the first filters pass their input on, so that every stage learns from the first step
            nn.init.dirac_(self.conv1.weight[:in_channels])

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x)
        out: Tensor = self.activation(self.bn3(self.conv3(self.inside(x))) + x)
        return out

    def widen(self, x: Tensor) -> Tensor:
        """[batch, in_channels, size, size] to [batch, channels, size // 2, size // 2]."""
        wide: Tensor = self.activation(self.bn1(self.pool(self.conv1(x))))
        return wide

    def inside(self, x: Tensor) -> Tensor:
        """What is between the residual pair, [batch, inner, size, size], of what `widen` gave."""
        inside: Tensor = self.activation(self.bn2(self.conv2(x)))
        return inside


class CifarNet(nn.Module):
    """Normalised float images [batch, 3, 32, 32] to logits [batch, num_classes]."""

    def __init__(self, widths: tuple[int, int, int], inner: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.widths, self.inner = widths, inner
        self.stem = nn.Conv2d(3, _WHITENED, 2)
        self.stem.weight.requires_grad_(False)
        self.activation = nn.ReLU(inplace=True)
        shapes = zip((_WHITENED, *widths[:-1]), widths, inner, strict=True)
        self.stages = nn.Sequential(*(Stage(*shape) for shape in shapes))
        self.pool = nn.MaxPool2d(3)
        self.fc = nn.Linear(widths[-1], num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.activation(self.stem(x)))  # [batch, width, 3, 3]
        logits: Tensor = self.fc(self.pool(x).flatten(1)) * _HEAD_SCALE
        return logits

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Set the frozen stem to the whitening transform of the 2x2 patches of `images` [n, 3, 32, 32]."""
        patches = F.unfold(images.float(), 2).transpose(1, 2).flatten(0, 1)
        variances, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (variances + _LEAST_VARIANCE).sqrt()).T.flip(0).reshape(-1, 3, 2, 2)
        self.stem.weight.copy_(torch.cat([filters, -filters]))


def cifarnet(*, num_classes: int) -> CifarNet:
    return CifarNet((96, 192, 240), (96, 192, 240), num_classes)


def cifarnet_narrow(*, num_classes: int) -> CifarNet:
    """With four fifths of the multiplications of `cifarnet`, which a run of it may start from."""
    return CifarNet((96, 192, 240), (48, 128, 240), num_classes)
