"""The network with batch normalisation of the tutorial 003: four 3x3 convolutions and two linear layers."""

from torch import nn


def batchnorm_net(*, num_classes: int) -> nn.Module:
    """[batch, 3, 32, 32] -> [batch, num_classes]."""
    return nn.Sequential(
        *_conv_bn_relu(3, 32),
        *_conv_bn_relu(32, 32),
        nn.MaxPool2d(2),  # [32, 16, 16]
        *_conv_bn_relu(32, 64),
        *_conv_bn_relu(64, 64),
        nn.MaxPool2d(2),  # [64, 8, 8]
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(inplace=True),
        nn.Linear(512, num_classes),
    )


def _conv_bn_relu(in_channels: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
