"""Outputs of a convolution that the pooling after it leaves out."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import onnx
from onnx import NodeProto


def skip_unpooled(model: onnx.ModelProto) -> None:
    """Let no convolution compute a last row and column that max pooling leaves out: their padding at the end goes.

    Of 7 rows, pooling by twos sees 6, so of 7x7 outputs a quarter are for nothing. The others do not change, nor does
    anything that the network says. `model` is changed in place; what is not known to be safe stays as it was.
    """
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    sizes = {value.name: [each.dim_value for each in value.type.tensor_type.shape.dim[2:]] for value in inferred}
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(value.name for value in graph.output)
    for pool in filter(pools_plainly, graph.node):
        source = pool.input[0]
        while uses[source] == 1 and (maker := makers.get(source)) and maker.op_type == "Relu":
            source = maker.input[0]
        conv = makers.get(source)
        if uses[source] == 1 and conv and pads_plainly(conv) and all(sizes.get(source, [0])):
            skip_last(conv, pool, sizes[source])
    del graph.value_info[:]
    model.CopyFrom(onnx.shape_inference.infer_shapes(model))


def pools_plainly(node: NodeProto) -> bool:
    """Whether it is a max pooling of what is there, without padding, that rounds its size down."""
    has = attributes(node)
    padded = any(has.get("pads", ())) or has.get("auto_pad", b"NOTSET") != b"NOTSET"
    spread = set(has.get("dilations", ())) - {1} or "strides" not in has
    return node.op_type == "MaxPool" and len(node.output) == 1 and not (padded or spread or has.get("ceil_mode"))


def pads_plainly(node: NodeProto) -> bool:
    """Whether it is a convolution that sees each place once, with as much padding as it says."""
    has = attributes(node)
    return node.op_type == "Conv" and "pads" in has and set(has.get("strides", (1,))) == {1}


def skip_last(conv: NodeProto, pool: NodeProto, size: Sequence[int]) -> None:
    """Take from the padding of `conv`, whose output has that size, as many rows and columns as `pool` leaves out."""
    pads = next(attribute.ints for attribute in conv.attribute if attribute.name == "pads")
    windows = zip(size, attributes(pool)["kernel_shape"], attributes(pool)["strides"], strict=True)
    for end, (length, kernel, stride) in enumerate(windows, start=len(size)):
        pads[end] -= min(pads[end], (length - kernel) % stride)


def attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
