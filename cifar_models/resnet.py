"""Residual networks (He et al., 2015), with torchvision's names for the parameters, so that its weights fit.

The CIFAR stem is a 3x3 convolution with stride 1; the ImageNet stem shrinks 32x32 to 8x8 before the first block.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Stem = Literal["cifar", "imagenet"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = projection(in_channels, channels * self.expansion, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in_channels, s, s] -> [batch, channels, s / stride, s / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut. The stride is on the 3x3 one, which sees all of its input."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.downsample = projection(in_channels, channels * self.expansion, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in_channels, s, s] -> [batch, 4 * channels, s / stride, s / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.downsample(x))


Block = type[BasicBlock] | type[Bottleneck]


class GlobalAveragePool(nn.Module):
    """The mean of every channel."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] -> [batch, channels]."""
        return x.mean((2, 3))


class ResNet(nn.Sequential):
    """Stem, one stage per width (each but the first halves the size), global average pooling, linear layer."""

    def __init__(
        self,
        block: Block,
        depths: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        stem: Stem = "cifar",
        num_classes: int,
    ) -> None:
        super().__init__()
        channels = widths[0]
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = conv3x3(3, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        if stem == "imagenet":
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            stage = make_stage(block, channels, width, depth=depth, stride=1 if number == 1 else 2)
            self.add_module(f"layer{number}", stage)
            channels = width * block.expansion
        self.avgpool = GlobalAveragePool()
        self.fc = nn.Linear(channels, num_classes)
        self.apply(init_convolution)


def make_stage(block: Block, in_channels: int, channels: int, *, depth: int, stride: int) -> nn.Sequential:
    """`depth` blocks, of which the first changes the channels and the size."""
    first = block(in_channels, channels, stride=stride)
    return nn.Sequential(first, *(block(channels * block.expansion, channels) for _ in range(depth - 1)))


def projection(in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """The shortcut around a block: a 1x1 convolution where channels or size change, otherwise the input itself."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(conv1x1(in_channels, out_channels, stride=stride), nn.BatchNorm2d(out_channels))


def conv1x1(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """[batch, in_channels, s, s] -> [batch, out_channels, s / stride, s / stride]."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """[batch, in_channels, s, s] -> [batch, out_channels, s / stride, s / stride]."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def init_convolution(module: nn.Module) -> None:
    """Keep the variance of the gradient through the ReLUs (He initialisation); leave other layers as they are."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(*, num_classes: int, stem: Stem = "cifar") -> nn.Module:
    """18 layers, in basic blocks: [batch, 3, 32, 32] -> [batch, num_classes], as all below."""
    return ResNet(BasicBlock, (2, 2, 2, 2), stem=stem, num_classes=num_classes)


def resnet34(*, num_classes: int, stem: Stem = "cifar") -> nn.Module:
    """34 layers, in basic blocks."""
    return ResNet(BasicBlock, (3, 4, 6, 3), stem=stem, num_classes=num_classes)


def resnet50(*, num_classes: int, stem: Stem = "cifar") -> nn.Module:
    """50 layers, in bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 6, 3), stem=stem, num_classes=num_classes)


def resnet101(*, num_classes: int, stem: Stem = "cifar") -> nn.Module:
    """101 layers, in bottlenecks."""
    return ResNet(Bottleneck, (3, 4, 23, 3), stem=stem, num_classes=num_classes)


def resnet152(*, num_classes: int, stem: Stem = "cifar") -> nn.Module:
    """152 layers, in bottlenecks."""
    return ResNet(Bottleneck, (3, 8, 36, 3), stem=stem, num_classes=num_classes)


def resnet20(*, num_classes: int) -> nn.Module:
    """The small network of the paper's section on CIFAR-10, with projections where it pads the shortcut with zeros."""
    return ResNet(BasicBlock, (3, 3, 3), widths=(16, 32, 64), num_classes=num_classes)
