"""Outputs of a convolution that the pooling after it leaves out."""

from collections.abc import Sequence

import onnx


def skip_unpooled(model: onnx.ModelProto) -> None:
    """Let no convolution compute a last row and column that max pooling leaves out: their padding at the end goes.

    Of 7 rows, pooling by twos sees 6, so of 7x7 outputs a quarter are for nothing. The others do not change, nor does
    anything that the network says. All sizes but the batch's must be known.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: [each.dim_value for each in value.type.tensor_type.shape.dim[2:]] for value in graph.value_info
    }
    makers = {name: node for node in model.graph.node for name in node.output}
    uses = [name for node in model.graph.node for name in node.input]
    for pool in model.graph.node:
        if pool.op_type != "MaxPool" or any(integers(pool, "pads")):
            continue
        node = makers[pool.input[0]]
        while node.op_type == "Relu" and uses.count(node.output[0]) == 1:
            node = makers[node.input[0]]
        if node.op_type == "Conv" and uses.count(node.output[0]) == 1 and set(integers(node, "strides")) == {1}:
            skip_last(node, pool, sizes[pool.input[0]])
    del model.graph.value_info[:]
    model.CopyFrom(onnx.shape_inference.infer_shapes(model))


def skip_last(conv: onnx.NodeProto, pool: onnx.NodeProto, size: Sequence[int]) -> None:
    pads = next(attribute for attribute in conv.attribute if attribute.name == "pads").ints
    windows = zip(size, integers(pool, "kernel_shape"), integers(pool, "strides"), strict=True)
    for axis, (length, kernel, stride) in enumerate(windows, start=len(size)):
        pads[axis] -= min(pads[axis], (length - kernel) % stride)


def integers(node: onnx.NodeProto, name: str) -> Sequence[int]:
    return next((attribute.ints for attribute in node.attribute if attribute.name == name), ())
