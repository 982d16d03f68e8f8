"""ONNX, int8: static quantisation with scales per channel, calibrated on training images."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from cifar_models.picture import Pixels
from export.quiet import errors_only
from export.unpooled import skip_unpooled

_BATCH = 32
# What holds the arithmetic and what lies between. Not the preprocessing, which is exact in float, and not the softmax
# and the calibration, whose outputs would come in steps of 1/255.
_QUANTISED = ["Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu"]


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """Hands images to the calibrator, in batches."""

    def __init__(self, images: Pixels) -> None:
        self._batches: Iterator[Pixels] = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))

    def get_next(self) -> dict[str, Pixels] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def export_int8(model: onnx.ModelProto, images: Pixels, path: Path, metadata: dict[str, str]) -> None:
    """Quantise the float32 `model`, calibrated on `images` uint8 [n, 32, 32, 3], and write it to `path`."""
    with tempfile.TemporaryDirectory() as folder, errors_only(logging.getLogger()):  # the quantiser speaks as root
        plain, prepared = Path(folder, "plain.onnx"), Path(folder, "prepared.onnx")
        onnx.save(model, plain)
        quant_pre_process(plain, prepared)
        optimised = onnx.load(prepared)
        skip_unpooled(optimised)
        onnx.save(optimised, prepared)
        options: dict[str, Any] = {"quant_format": QuantFormat.QDQ, "per_channel": True}
        quantize_static(
            prepared,
            path,
            Batches(images),
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=float_nodes(optimised),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            **options,
        )
    write_metadata(path, metadata)


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of those that stay float beside what is never quantised.

    The convolution that sees the pixels, if there is one: it costs little, and a whitening stem amplifies what rounding
    does. And what comes after the logits, where an addition of the calibration's would be taken for one of the
    network's.
    """
    nodes = list(model.graph.node)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    end = next(index for index, node in enumerate(nodes) if "logits" in node.output)
    return [node.name for node in (*convolutions[:1], *nodes[end + 1 :])]


def write_metadata(path: Path, metadata: dict[str, str]) -> None:
    quantised = onnx.load(path)
    del quantised.metadata_props[:]
    onnx.helper.set_model_props(quantised, metadata)
    onnx.checker.check_model(quantised, full_check=True)
    onnx.save(quantised, path)
