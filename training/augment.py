"""Augmentation of whole batches on the device where the data live: one copy of rows shuffles and shifts."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cifar_models.cifar10 import IMAGE_SIZE
from training.cutmix import draw_patches
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Views:
    """Which images an epoch shows, in what order, and how each is seen: tensors [n] on the data's device."""

    index: Tensor  # int64, into the data set
    shift: Tensor  # int64 [n, 2]: down and right, in pixels
    flip: Tensor  # bool [n, 2]: turned upside down, mirrored left to right
    hole: Tensor  # int64 [n, 2]: top left corner of the cutout square
    patch: Tensor  # int64 [n, 4]: top, left, bottom and right of what CutMix takes from another view

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))

    def batch(self, start: int, size: int) -> "Views":
        return Views(*(each[start : start + size] for each in self))

    def previous(self) -> "Views":
        """The view before each, in the epoch's order: its partner, whatever processes share the batch."""
        return Views(*(each.roll(1, 0) for each in self))


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
    patch = draw_patches(recipe.cutmix, count, image_size, generator)
    return Views(*(each.to(device) for each in (order % num_images, shift, flip, hole, patch)))


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


def lay_out(images: Tensor, crop: int) -> Tensor:
    """Pixels uint8 [n, s, s, 3] as `take` wants them: planes [n, 3, s, s + 2 * crop], rows reflected at both ends.

    Every row of every image shifted sideways by up to `crop` is then `s` bytes that lie side by side.
    """
    planes = images.permute(0, 3, 1, 2).contiguous()
    return torch.cat([planes[..., 1 : crop + 1].flip(-1), planes, planes[..., -1 - crop : -1].flip(-1)], dim=-1)


def take(planes: Tensor, views: Views) -> Tensor:
    """Shifted and flipped images: what `lay_out` made to uint8 [len(views), s, s, 3]; borders are reflected."""
    _, channels, size, width = planes.shape
    upside_down, mirrored = views.flip.unbind(1)
    down, right = views.shift.unbind(1)
    rows = reflect(torch.arange(size, device=planes.device) + down[:, None], size)
    rows = torch.where(upside_down[:, None], size - 1 - rows, rows)
    first = (width - size) // 2 + torch.where(mirrored, -right, right)  # a mirrored image is shifted, then mirrored
    plane = views.index[:, None] * channels + torch.arange(channels, device=planes.device)
    starts = (plane[:, :, None] * size + rows[:, None]) * width + first[:, None, None]  # [views, channels, s]
    slices = planes.view(-1).as_strided((planes.numel() - size + 1, size), (1, 1))  # from every byte on
    taken = slices.index_select(0, starts.view(-1)).view(-1, channels, size, size)
    # Chosen as numbers of eight bytes: `where` copies each number by itself.
    both = (taken.flip(-1).view(torch.int64), taken.view(torch.int64))
    return torch.where(mirrored[:, None, None, None], *both).view(torch.uint8).permute(0, 2, 3, 1)


def reflect(position: Tensor, size: int) -> Tensor:
    """Fold positions that lie up to `size` - 1 outside [0, size) back inside, as `np.pad(mode="reflect")` would."""
    last = size - 1
    return last - (last - position.abs()).abs()


def cut_out(x: Tensor, views: Views, side: int) -> Tensor:
    """Zero a square, if `side` is not 0, of each image [batch, channels, s, s] (Cutout, DeVries and Taylor 2017).

    Holes and `side` are in pixels of the data; a network that enlarges its input gets them enlarged.
    """
    if not side:
        return x
    zoom = x.shape[-1] // IMAGE_SIZE
    offset = torch.arange(x.shape[-1], device=x.device) - zoom * views.hole[:, :, None]  # [batch, 2, s]
    inside = (offset >= 0) & (offset < zoom * side)
    return x.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0)
