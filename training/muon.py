"""Muon for convolution filters."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal (Jordan et al. 2024, "Muon").

    For filters [out, in, k, k] that a batch norm follows, read as matrices [out, in*k*k]: their norm does not change
    the function, so it is kept at sqrt(out) and `lr` alone is the relative size of a step, as in airbench94_muon.
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for filters in group["params"]:
                if filters.grad is None:
                    continue
                state = self.state[filters]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(filters)
                buffer: Tensor = state["momentum_buffer"]
                buffer.mul_(group["momentum"]).add_(filters.grad)
                nesterov = filters.grad.add(buffer, alpha=group["momentum"])
                filters.mul_(len(filters) ** 0.5 / filters.norm())
                filters.add_(orthogonal(nesterov.flatten(1)).view_as(filters), alpha=-group["lr"])


def orthogonal(matrix: Tensor, *, steps: int = 3, eps: float = 1e-7) -> Tensor:
    """The nearest (semi-)orthogonal matrix, roughly: a quintic Newton-Schulz iteration in bfloat16.

    The coefficients are Muon's. Where one side is at least three times the other, singular values end between about
    0.65 and 1.2, which is as good as 1 here; of nearly square matrices the small ones stay small.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrix.bfloat16()
    x = x / (x.norm() + eps)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    return x.to(matrix.dtype)
