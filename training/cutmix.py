"""CutMix (Yun et al. 2019): a patch of another image, and its share of the target."""

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_patches(share: float, count: int, size: int, generator: torch.Generator) -> Tensor:
    """int64 [count, 4], top, left, bottom and right in pixels; empty but for about `share` of the rows.

    The area is uniform, as Beta(1, 1) makes it, the middle lies anywhere, and what is outside the image is cut off.
    """
    if not share:
        return torch.zeros(count, 4, dtype=torch.int64)
    mixed = torch.rand(count, 1, generator=generator) < share
    half = torch.rand(count, 1, generator=generator).sqrt() * size / 2
    middle = torch.rand(count, 2, generator=generator) * size
    corners = torch.cat([middle - half, middle + half], dim=1).round().long().clamp(0, size)
    return torch.where(mixed, corners, 0)


def paste(pixels: Tensor, others: Tensor, patch: Tensor) -> Tensor:
    """`pixels` [batch, s, s, 3] with `others` inside the patch [batch, 4]."""
    position = torch.arange(pixels.shape[1], device=pixels.device)
    inside = (position >= patch[:, :2, None]) & (position < patch[:, 2:, None])  # [batch, 2, s]
    return torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[..., None], others, pixels)


def mixed_loss(logits: Tensor, labels: Tensor, others: Tensor, patch: Tensor, *, smoothing: float, size: int) -> Tensor:
    """Mean cross entropy, in which the other label has the patch's share of the image of `size` pixels a side."""
    area = (patch[:, 2:] - patch[:, :2]).prod(1) / size**2
    own, other = (F.cross_entropy(logits, y, label_smoothing=smoothing, reduction="none") for y in (labels, others))
    return torch.lerp(own, other, area).mean()
