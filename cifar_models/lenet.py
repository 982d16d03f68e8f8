"""LeNet-5 (LeCun et al., 1998) in the form of PyTorch's tutorials: ReLU and max-pooling, one linear output layer."""

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """Two 5x5 convolutions and three linear layers; `hidden` is the width of the second one."""

    def __init__(self, *, channels: int = 3, hidden: int = 84, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, hidden)
        self.fc3 = nn.Linear(hidden, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels, 32, 32] -> [batch, num_classes]."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)  # [batch, 6, 14, 14]
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # [batch, 16, 5, 5]
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


def lenet(*, num_classes: int) -> nn.Module:
    """The first network of the tutorial 003, which is that of PyTorch's "Training a Classifier"."""
    return LeNet(num_classes=num_classes)


def lenet_grey(*, num_classes: int) -> nn.Module:
    """The network of the tutorial 002, which is that of PyTorch's "Neural Networks": for images of one channel."""
    return LeNet(channels=1, num_classes=num_classes)


def lenet_120(*, num_classes: int) -> nn.Module:
    """The network of the tutorial 001: a second hidden layer of 120, linear layers Xavier-uniform with zero bias."""
    model = LeNet(hidden=120, num_classes=num_classes)
    for layer in (model.fc1, model.fc2, model.fc3):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model
