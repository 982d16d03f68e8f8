"""VGG11 (Simonyan & Zisserman, 2014, table 1, column A) for 32x32 images, with batch norm after every hidden layer."""

from collections import OrderedDict

from torch import nn

# Output channels of the convolutions of each stage; max-pooling halves the size after every stage.
STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg11(*, num_classes: int) -> nn.Module:
    """The exercise of the tutorial 003 (ArtIC-TITECH), here without any bias, in the last layer neither.

    [batch, 3, 32, 32] -> [batch, num_classes].
    """
    classifier = nn.Sequential(
        *_linear_bn_relu(512, 4096),
        *_linear_bn_relu(4096, 4096),
        nn.Linear(4096, num_classes, bias=False),
    )
    return nn.Sequential(OrderedDict(features=_features(), flatten=nn.Flatten(), classifier=classifier))


def _features() -> nn.Sequential:
    """[batch, 3, 32, 32] -> [batch, 512, 1, 1]."""
    layers: list[nn.Module] = []
    in_channels = 3
    for stage in STAGES:
        for channels in stage:
            layers += _conv_bn_relu(in_channels, channels)
            in_channels = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _conv_bn_relu(in_channels: int, channels: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def _linear_bn_relu(in_features: int, features: int) -> list[nn.Module]:
    return [nn.Linear(in_features, features, bias=False), nn.BatchNorm1d(features), nn.ReLU(inplace=True)]
