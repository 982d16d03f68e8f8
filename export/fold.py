"""Batch norm, folded into the convolution before it."""

import warnings

from torch import nn
from torch.fx.experimental.optimization import fuse


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Multiply each batch norm into the convolution before it, once for all formats: none does it in its own way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.fx's own calls
        return fuse(network.eval()).eval()
