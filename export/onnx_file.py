"""ONNX, float32: one file, dynamic batch, weights stored as halves."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from cifar_models.classifier import Classifier
from cifar_models.onnx_session import CPU, CUDA, Provider, open_session
from cifar_models.picture import Pixels
from export.quiet import errors_only
from export.reference import EXAMPLE
from export.runner import Outputs, Runner, Target

OPSET = 20


def export_onnx(model: Classifier, path: Path, metadata: dict[str, str]) -> onnx.ModelProto:
    """Write the model to `path`, and return it with its weights as float32, as quantisation needs it."""
    with errors_only(logging.getLogger("torch.onnx")):
        program = torch.onnx.export(
            model,
            (EXAMPLE,),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes=({0: "batch"},),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    strip(graph)
    helper.set_model_props(graph, metadata)
    halved = store_halves(graph)
    onnx.checker.check_model(halved, full_check=True)
    onnx.save(halved, path)
    return graph


def open_onnx(path: Path, target: Target) -> Runner:
    """Raises RuntimeError when a library of the target's device is missing, or ONNX Runtime would compute elsewhere."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads or 0
    # Threads that wait shall sleep, as torch's do here: beside another program, spinning takes its time and ours.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider: Provider = CPU
    if target.device == "cuda":
        provider = (CUDA, {"use_tf32": int(target.arithmetic == "tf32")})
    session = open_session(path, options, provider)

    def compute(images: Pixels) -> Outputs:
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
        return np.asarray(logits), np.asarray(probabilities)

    return Runner(compute, session.get_providers()[0])


def read_onnx_metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes for its own authors: paths of this machine's source files among it."""
    del model.metadata_props[:]
    model.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        del item.metadata_props[:]


def store_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that stores each weight as float16 and casts it back; ONNX Runtime does that once, when it loads the file.

    Only weights that float16 holds exactly are stored so: the copy computes the same.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    casts = []
    for weight in copy.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.ndim < 2 or not np.array_equal(halves.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(halves, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
