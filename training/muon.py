"""Muon for convolution filters."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from training.precision import fast_dtype

_ITERATIONS = 3
_TINY = 1e-7  # beside a norm: of a matrix of zeros there is no direction


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal (Jordan et al. 2024, "Muon").

    For filters [out, in, k, k], read as matrices [out, in*k*k], whose norm is kept at sqrt(out), so that `lr` alone is
    the relative size of a step, as in airbench94_muon. Where a batch norm follows, their norm does not change the
    function. Elsewhere it does: fresh weights learn with it all the same, trained ones lose at the first step what they
    have learnt. Filters of one shape are computed together: a GPU is asked once for all of them.
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for filters in of_one_shape(each for each in group["params"] if each.grad is not None):
                self._update(filters, lr=group["lr"], momentum=group["momentum"])

    def _update(self, filters: list[Tensor], *, lr: float | Tensor, momentum: float) -> None:
        gradients = [each.grad for each in filters if each.grad is not None]
        buffers = [self._buffer(each) for each in filters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        nesterov = torch._foreach_add(gradients, buffers, alpha=momentum)
        updates = orthogonal(torch.stack([each.flatten(1) for each in nesterov]))
        scales = torch._foreach_div(torch._foreach_norm(filters), len(filters[0]) ** 0.5)
        torch._foreach_div_(filters, scales)
        torch._foreach_sub_(filters, list((lr * updates).view(-1, *filters[0].shape)))

    def _buffer(self, filters: Tensor) -> Tensor:
        state = self.state[filters]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(filters)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def of_one_shape(tensors: Iterable[Tensor]) -> Sequence[list[Tensor]]:
    """The tensors in groups, each of one shape."""
    groups: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for each in tensors:
        groups[each.shape].append(each)
    return list(groups.values())


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices of [..., m, n], roughly: a quintic Newton-Schulz iteration.

    The coefficients are Muon's. Where one side is at least three times the other, singular values end between about
    0.65 and 1.2, which is as good as 1 here; of nearly square matrices the small ones stay small.

    It multiplies in bfloat16 where the device does, as Muon's does, and else in float32: a processor without it is
    several times slower in bfloat16 (docs/training.md).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrices.to(fast_dtype(matrices.device))
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + _TINY)
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    if is_tall:
        x = x.mT
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    if is_tall:
        x = x.mT
    return x.to(matrices.dtype)
