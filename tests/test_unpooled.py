"""That convolutions of the int8 file do not compute what pooling leaves out, and that this changes no answer."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.architectures import fresh_classifier
from export.golden import golden_images
from export.onnx_file import export_onnx
from export.unpooled import skip_unpooled


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("cifarnet", {31: 30, 15: 14, 7: 6}),
        ("alexnet", {15: 14, 7: 6}),
        ("alexnet_bn", {32: 31}),  # pooled by threes, two apart
        ("batchnorm_net", {}),  # even sizes, pooled by twos
        ("resnet18_imagenet_stem", {}),  # the pooling pads
    ],
)
def test_what_pooling_leaves_out_is_not_computed_and_nothing_else_changes(
    name: str, less: dict[int, int], tmp_path: Path
) -> None:
    model = export_onnx(fresh_classifier(name), tmp_path / "stored.onnx", {})
    before, answers = heights(model), logits(model)
    skip_unpooled(model)
    onnx.checker.check_model(model, full_check=True)
    after = heights(model)
    assert {before[conv]: after[conv] for conv in before if after[conv] != before[conv]} == less
    assert np.array_equal(logits(model), answers)


def heights(model: onnx.ModelProto) -> dict[str, int]:
    """Of each convolution's output, by its name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape for value in graph.value_info}
    return {node.output[0]: shapes[node.output[0]].dim[2].dim_value for node in graph.node if node.op_type == "Conv"}


def logits(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"images": golden_images()})[0])
