"""The graph that is trained, exported and served: pixels in, logits and probabilities out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifar_models.calibration import Calibration
from cifar_models.cifar10 import IMAGE_SIZE, MEAN, STD
from cifar_models.registry import create_model, find_model

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts RGB to grey


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def checked(images: Tensor) -> Tensor:
    """The same. Raises ValueError for what is no batch of pixels, from which a network would compute nonsense.

    Scripted, as a trace alone would keep no check, and a TorchScript file answer whatever it is given.
    """
    if images.dtype != torch.uint8:
        raise ValueError("images must be uint8, pixels from 0 to 255 in RGB, and are of another type")
    if images.dim() != 4 or images.size(1) != 32 or images.size(2) != 32 or images.size(3) != 3:
        raise ValueError("images must be of shape [batch, 32, 32, 3], and are of " + str(images.size()))
    return images


class Preprocess(nn.Module):
    """Pixels uint8 [batch, 32, 32, 3] RGB to a network's normalised float32 input [batch, channels, size, size]."""

    scale: Tensor
    shift: Tensor
    luma: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: int, size: int) -> None:
        super().__init__()
        self.channels = channels
        self.size = size
        deviation = torch.tensor(std)
        per_channel = (1, 3, 1, 1)
        self.register_buffer("scale", (1 / (255 * deviation)).view(per_channel), persistent=False)
        self.register_buffer("shift", (torch.tensor(mean) / deviation).view(per_channel), persistent=False)
        self.register_buffer("luma", torch.tensor(_LUMA).view(per_channel), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float() * self.scale - self.shift
        if self.channels == 1:
            x = (x * self.luma).sum(1, keepdim=True)
        if self.size != IMAGE_SIZE:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return x


class Classifier(nn.Module):
    """A registered network with its preprocessing, so that nobody else has to know mean, std or layout.

    `forward` takes images uint8 [batch, 32, 32, 3] and gives (logits, probabilities), both float32 [batch, classes];
    probabilities are the softmax of the logits as its calibration scales them. Raises ValueError for other images.
    """

    temperature: Tensor
    sharpening: Tensor

    def __init__(
        self, architecture: str, *, num_classes: int, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
    ) -> None:
        super().__init__()
        spec = find_model(architecture)
        self.preprocess = Preprocess(mean, std, spec.channels, spec.size)
        self.network = create_model(architecture, num_classes=num_classes)
        self.register_buffer("temperature", torch.ones(()), persistent=False)
        self.register_buffer("sharpening", torch.zeros(()), persistent=False)

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.temperature.item(), self.sharpening.item())

    def calibrate(self, calibration: Calibration) -> None:
        self.temperature.fill_(calibration.temperature)
        self.sharpening.fill_(calibration.sharpening)

    def logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.preprocess(images))
        return logits.float()

    def calibrated(self, logits: Tensor) -> Tensor:
        """The logits float32 [batch, classes] whose softmax is honest, as `Calibration` scales them."""
        best: Tensor = logits.topk(2).values
        return logits * (1 / self.temperature + self.sharpening * (best[:, :1] - best[:, 1:]))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(checked(images))
        return logits, torch.softmax(self.calibrated(logits), dim=1)
