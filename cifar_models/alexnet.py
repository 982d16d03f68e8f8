"""AlexNet (Krizhevsky et al., 2012, in the narrower form of Krizhevsky, 2014) as three tutorials build it."""

from collections import OrderedDict

from torch import nn


def alexnet(*, num_classes: int) -> nn.Module:
    """The AlexNet of the tutorial 000: a 7x7 stem with stride 1, and 2x2 pooling down to [256, 3, 3].

    [batch, 3, 32, 32] -> [batch, num_classes].
    """
    stem = nn.Conv2d(3, 64, kernel_size=7, padding=2)
    return _alexnet(stem, last_size=3, dropout=0.5, num_classes=num_classes)


def alexnet_224(*, num_classes: int) -> nn.Module:
    """The AlexNet of the tutorial 002: an 11x11 stem with stride 4, no dropout, last map [256, 6, 6].

    [batch, 3, 224, 224] -> [batch, num_classes].
    """
    stem = nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2)
    return _alexnet(stem, last_size=6, dropout=0.0, num_classes=num_classes)


def alexnet_bn(*, num_classes: int) -> nn.Module:
    """The AlexNet of the tutorial 004: 3x3 convolutions, batch norm everywhere, overlapping 3x3 pooling.

    [batch, 3, 32, 32] -> [batch, num_classes].
    """
    features = nn.Sequential(
        *_conv_bn(3, 96, pool=True),  # [96, 15, 15]
        *_conv_bn(96, 256, pool=True),  # [256, 7, 7]
        *_conv_bn(256, 384, dropout=0.1),
        *_conv_bn(384, 384, dropout=0.3),
        *_conv_bn(384, 256, dropout=0.1, pool=True),  # [256, 3, 3]
    )
    classifier = nn.Sequential(
        nn.Dropout(0.3),
        nn.Linear(256 * 3 * 3, 512),
        nn.BatchNorm1d(512),
        nn.Dropout(0.1),
        nn.ReLU(inplace=True),
        nn.Linear(512, num_classes),
    )
    return _chain(features, classifier)


def _alexnet(stem: nn.Conv2d, *, last_size: int, dropout: float, num_classes: int) -> nn.Module:
    features = nn.Sequential(
        stem,
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(256 * last_size * last_size, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, num_classes),
    )
    return _chain(features, classifier)


def _conv_bn(in_channels: int, channels: int, *, dropout: float = 0.0, pool: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel_size=3, padding=1), nn.BatchNorm2d(channels)]
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.ReLU(inplace=True))
    if pool:
        layers.append(nn.MaxPool2d(3, stride=2))
    return layers


def _chain(features: nn.Module, classifier: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier))
