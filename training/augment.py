"""Augmentation of whole batches on the device where the data live: one gather shuffles, shifts and flips."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cifar_models.cifar10 import IMAGE_SIZE
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Views:
    """Which images an epoch shows, in what order, and how each is seen: tensors [n] on the data's device."""

    index: Tensor  # int64, into the data set
    shift: Tensor  # int64 [n, 2]: down and right, in pixels
    flip: Tensor  # bool [n, 2]: turned upside down, mirrored left to right
    hole: Tensor  # int64 [n, 2]: top left corner of the cutout square

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, start: int, size: int) -> "Views":
        rows = slice(start, start + size)
        return Views(self.index[rows], self.shift[rows], self.flip[rows], self.hole[rows])


def views_per_epoch(recipe: Recipe, num_images: int) -> int:
    return 3 * num_images if recipe.tripled else num_images


def draw_views(recipe: Recipe, num_images: int, image_size: int, epoch: int, device: torch.device) -> Views:
    """The views of one epoch: a function of the recipe, its seed and the epoch, so that a resumed run repeats them."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    count = views_per_epoch(recipe, num_images)
    order = torch.randperm(count, generator=generator)
    shift = torch.randint(-recipe.crop, recipe.crop + 1, (count, 2), generator=generator)
    hole = torch.randint(-(recipe.cutout // 2), image_size - recipe.cutout // 2, (count, 2), generator=generator)
    flip = draw_flips(recipe, num_images, epoch, generator)[order]
    return Views((order % num_images).to(device), shift.to(device), flip.to(device), hole.to(device))


def draw_flips(recipe: Recipe, num_images: int, epoch: int, generator: torch.Generator) -> Tensor:
    """bool [views, 2], before they are put in order."""
    mirrored = draw_mirrored(recipe, num_images, epoch, generator)
    upright = torch.zeros_like(mirrored)
    flips = torch.stack([upright, mirrored], dim=1)
    if not recipe.tripled:
        return flips
    return torch.cat([flips, torch.stack([~upright, mirrored], dim=1), torch.stack([upright, ~mirrored], dim=1)])


def draw_mirrored(recipe: Recipe, num_images: int, epoch: int, generator: torch.Generator) -> Tensor:
    if recipe.flip == "none":
        return torch.zeros(num_images, dtype=torch.bool)
    if recipe.flip == "random":
        return torch.rand(num_images, generator=generator) < 0.5
    # Alternating flip (Jordan 2024, section 3.6): drawn once, then the other side every epoch, so that two epochs
    # in a row always show both.
    first = torch.rand(num_images, generator=torch.Generator().manual_seed(recipe.seed)) < 0.5
    return first ^ (epoch % 2 == 1)


def pack(images: Tensor) -> Tensor:
    """Pixels uint8 [n, s, s, 3] as one number each, int32 [n, s, s]: a gather moves a pixel as fast as a byte."""
    padded = torch.cat([images, torch.zeros_like(images[..., :1])], dim=-1)
    return padded.view(torch.int32)[..., 0].contiguous()


def take(packed: Tensor, views: Views) -> Tensor:
    """Shifted and flipped images: packed int32 [n, s, s] to uint8 [len(views), s, s, 3]; borders are reflected."""
    size = packed.shape[1]
    axis = torch.arange(size, device=packed.device)
    positions = reflect(axis + views.shift[:, :, None], size)  # [views, 2, s]
    rows, columns = torch.where(views.flip[:, :, None], size - 1 - positions, positions).unbind(1)
    pixels = ((views.index[:, None] * size + rows) * size)[:, :, None] + columns[:, None, :]  # [views, s, s]
    return torch.take(packed, pixels)[..., None].view(torch.uint8)[..., :3]


def reflect(position: Tensor, size: int) -> Tensor:
    """Fold positions that lie up to `size` - 1 outside [0, size) back inside, as `np.pad(mode="reflect")` would."""
    last = size - 1
    return last - (last - position.abs()).abs()


def cut_out(x: Tensor, views: Views, side: int) -> Tensor:
    """Zero a square of each normalised image [batch, channels, s, s] (Cutout, DeVries and Taylor 2017).

    Holes and `side` are in pixels of the data; a network that enlarges its input gets them enlarged.
    """
    zoom = x.shape[-1] // IMAGE_SIZE
    offset = torch.arange(x.shape[-1], device=x.device) - zoom * views.hole[:, :, None]  # [batch, 2, s]
    inside = (offset >= 0) & (offset < zoom * side)
    return x.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0)
