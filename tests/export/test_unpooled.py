"""That convolutions of the int8 file do not compute what pooling leaves out, and that this changes no answer."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper

from export.architectures import fresh_classifier
from export.golden import golden_images, smooth_images
from export.int8_file import export_int8
from export.onnx_file import export_onnx
from export.unpooled import attributes, skip_unpooled

CUT = [1, 1, 0, 0]  # pads


def test_the_int8_file_of_the_default_network_computes_less_and_says_the_same(tmp_path: Path) -> None:
    plain, int8 = tmp_path / "model.onnx", tmp_path / "model.int8.onnx"
    model = export_onnx(fresh_classifier("cifarnet"), plain, {})
    export_int8(model, smooth_images(8), int8, {})
    for path, cut in ((int8, True), (plain, False)):
        convolutions = (node for node in onnx.load(path).graph.node if node.op_type == "Conv")
        assert any(attributes(node)["pads"] == CUT for node in convolutions) == cut
    before, logits = sizes(model), run(model, "logits", images=golden_images())
    skip_unpooled(model)
    onnx.checker.check_model(model, full_check=True)
    changes = [(old, new) for old, new in zip(before, sizes(model), strict=True) if old != new]
    assert changes == [((old, old), (old - 1, old - 1)) for old in (31, 15, 7)]
    np.testing.assert_allclose(run(model, "logits", images=golden_images()), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "pool", "computed"),
    [
        (15, {"kernel_shape": [2, 2]}, 14),
        (16, {"kernel_shape": [2, 2]}, 16),
        (16, {"kernel_shape": [3, 3]}, 15),  # AlexNet's
        (15, {"kernel_shape": [3, 3]}, 15),
        (16, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 16),  # a ResNet's: the pooling pads
    ],
)
def test_what_pooling_leaves_out_is_not_computed_and_nothing_else_changes(
    size: int, pool: dict[str, Any], computed: int
) -> None:
    model = small_model({"strides": [2, 2], **pool}, {"pads": [1, 1, 1, 1]}, ["y"], size)
    x = pixels(size)
    before = run(model, "y", x=x)
    skip_unpooled(model)
    onnx.checker.check_model(model, full_check=True)
    assert sizes(model) == [(computed, computed)]
    np.testing.assert_allclose(run(model, "y", x=x), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "conv", "outputs"),
    [
        ({}, {}, ["y"]),  # it is cut
        ({"ceil_mode": 1}, {}, ["y"]),
        ({"dilations": [2, 2]}, {}, ["y"]),
        ({"auto_pad": "SAME_UPPER"}, {}, ["y"]),
        ({}, {"auto_pad": "SAME_UPPER"}, ["y"]),
        ({}, {"pads": [1, 1, 1, 1], "strides": [2, 2]}, ["y"]),
        ({}, {}, ["y", "relu"]),  # somebody sees what pooling leaves out
        ({}, {}, ["y", "conv"]),
    ],
)
def test_what_somebody_may_see_is_computed(pool: dict[str, Any], conv: dict[str, Any], outputs: list[str]) -> None:
    model = small_model({"kernel_shape": [2, 2], "strides": [2, 2], **pool}, conv or {"pads": [1, 1, 1, 1]}, outputs)
    x = pixels(7)
    before = [run(model, output, x=x) for output in outputs]
    skip_unpooled(model)
    onnx.checker.check_model(model, full_check=True)
    for output, found in zip(outputs, before, strict=True):
        np.testing.assert_allclose(run(model, output, x=x), found, rtol=1e-5, atol=1e-5)
    is_plain = not pool and not conv and outputs == ["y"]
    assert (attributes(model.graph.node[0]).get("pads") == CUT) == is_plain


def pixels(size: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(2, 1, size, size)).astype(np.float32)


def small_model(pool: dict[str, Any], conv: dict[str, Any], outputs: list[str], size: int = 7) -> onnx.ModelProto:
    """A convolution of so many rows and columns, ReLU and a pooling."""
    kernel = np.random.default_rng(1).normal(size=(1, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], kernel_shape=[3, 3], **conv),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["y"], **pool),
    ]
    value = helper.make_tensor_value_info
    ends = [value(name, onnx.TensorProto.FLOAT, ["batch", 1, None, None]) for name in outputs]
    image = value("x", onnx.TensorProto.FLOAT, ["batch", 1, size, size])
    graph = helper.make_graph(nodes, "small", [image], ends, [onnx.numpy_helper.from_array(kernel, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def sizes(model: onnx.ModelProto) -> list[tuple[int, int]]:
    """Of each convolution's output, in order."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    dims = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    outputs = (node.output[0] for node in graph.node if node.op_type == "Conv")
    return [(dims[name][2].dim_value, dims[name][3].dim_value) for name in outputs]


def run(model: onnx.ModelProto, output: str, **inputs: npt.NDArray[Any]) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([output], inputs)[0]
