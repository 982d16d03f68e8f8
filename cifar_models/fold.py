"""Batch norm, folded into the convolution before it; and what pooling may come after, done before it."""

import warnings

from torch import nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.fx.experimental.optimization import fuse


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Multiply each batch norm into the convolution before it, once for all formats: none does it in its own way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.fx's own calls
        return fuse(pool_last(network.eval())).eval()


def pool_last(network: nn.Module) -> GraphModule:
    """The same network, in which max pooling comes after the batch norm and ReLU that followed it.

    Training has it first, as there is less to normalise then; folded, a convolution makes both for nothing. What only
    rises gives the same on either side of a maximum.
    """
    traced = symbolic_trace(network)
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if isinstance(modules.get(str(node.target)), nn.MaxPool2d):
            while len(node.users) == 1 and rises(modules.get(str(next(iter(node.users)).target))):
                put_before(node, next(iter(node.users)))
    traced.recompile()
    return traced


def rises(module: nn.Module | None) -> bool:
    """Whether a larger input never gives a smaller output, in each channel."""
    if isinstance(module, nn.BatchNorm2d):
        return module.weight is None or bool((module.weight > 0).all())
    return isinstance(module, nn.ReLU)


def put_before(pool: Node, after: Node) -> None:
    (source,) = pool.args
    after.replace_all_uses_with(pool)
    after.args, pool.args = (source,), (after,)
    after.append(pool)
