"""The device, and what is true of it: who computes there really, and how fast it multiplies and moves data."""

import json
import subprocess
from typing import Any

import onnxruntime
import torch
from torch.utils.benchmark import Timer

from bench.gpu.context import Context
from bench.gpu.record import Outcome
from bench.peers.model import BUNDLE
from cifar_models.errors import reason
from export.golden import golden_images
from export.onnx_file import open_onnx
from export.runner import Runner, Target
from export.torchscript_file import open_torchscript

_SIZE = (8192, 256)  # rows and columns of the matrices
_ROWS = "matrix_rows"  # names that size among the figures; those without it are of the larger one
_COPY_BYTES = (4 * 2**30, 2**20)  # of one buffer of two
_SECONDS = (2.0, 0.02)  # of each measurement


def inputs(context: Context) -> dict[str, Any]:
    return {}


def run(context: Context) -> Outcome:
    figures: dict[str, Any] = {
        "device": context.device_name,
        "nvidia-smi": ask_driver() if context.cuda else None,
        "torch": torch.__version__,
        "CUDA of torch": torch.version.cuda if context.cuda else None,
        "cuDNN": str(torch.backends.cudnn.version()) if context.cuda else None,  # type: ignore[no-untyped-call]
        "onnxruntime": onnxruntime.__version__,
        "onnxruntime's providers": onnxruntime.get_available_providers(),
        _ROWS: context.pick(_SIZE),
        "bf16_flops": matmul_rate(context, torch.bfloat16),
        "fp32_flops": matmul_rate(context, torch.float32),
        "bytes_per_second": copy_rate(context),
    }
    missing = []
    for name, file, open_ in (
        ("ONNX Runtime", "model.onnx", open_onnx),
        ("TorchScript", "model.torchscript.pt", open_torchscript),
    ):
        try:
            runner: Runner = open_(BUNDLE / file, Target(device="cuda" if context.cuda else "cpu"))
            runner(golden_images())
            figures[f"{name} runs on"] = runner.provider
        except Exception as error:  # each library raises its own
            missing.append(f"{name} does not compute on {context.device}: {reason(error)}")
    return Outcome(figures, missing)


def ask_driver() -> dict[str, str] | str:
    """Name, driver, memory and power limit, as nvidia-smi states them."""
    fields = "name,driver_version,memory.total,power.limit,clocks.max.sm"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"did not answer: {error}"
    first = done.stdout.splitlines()[0]
    return dict(zip(fields.split(","), map(str.strip, first.split(",")), strict=True))


def matmul_rate(context: Context, dtype: torch.dtype) -> float:
    """Floating point operations a second of a square matrix product of random numbers; float32 without TF32."""
    size = context.pick(_SIZE)
    left, right = (torch.randn(size, size, device=context.device).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(context, "torch.mm(left, right, out=result)", left=left, right=right)


def copy_rate(context: Context) -> float:
    """Bytes a second of a copy on the device, counting each as read and as written."""
    count = copy_bytes(context)
    left = torch.zeros(count, dtype=torch.uint8, device=context.device)
    return 2 * count / seconds_of(context, "result.copy_(left)", left=left)


def copy_bytes(context: Context) -> int:
    """Far more than a cache holds; both buffers together have at most half of the memory that is free."""
    wanted = context.pick(_COPY_BYTES)
    return min(wanted, torch.cuda.mem_get_info()[0] // 4) if context.cuda else wanted


def seconds_of(context: Context, statement: str, *, left: torch.Tensor, **values: torch.Tensor) -> float:
    """The median of runs of `statement`, which the timer waits for on the device."""
    names = {"torch": torch, "left": left, "result": torch.empty_like(left), **values}
    timer = Timer(statement, globals=names, num_threads=torch.get_num_threads())
    measured = timer.blocked_autorange(min_run_time=context.pick(_SECONDS))
    return float(measured.median)


def render(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of a table."""
    size = figures.get(_ROWS, _SIZE[0])
    rates = {
        "bf16_flops": f"bfloat16 matrix product, {size} x {size}",
        "fp32_flops": f"float32 matrix product, {size} x {size}",
        "bytes_per_second": "copy on the device, read and written",
    }
    rows = []
    for name, value in figures.items():
        if name in rates:
            unit = "TB/s" if name == "bytes_per_second" else "TFLOP/s"
            rows.append([rates[name], f"{value / 1e12:.3g} {unit}"])
        elif value is not None and name != _ROWS:
            rows.append([name, value if isinstance(value, str) else json.dumps(value).replace('"', "")])
    return rows
