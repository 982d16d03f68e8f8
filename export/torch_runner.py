"""Modules of torch, run the same way whatever file they come from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from cifar_models.picture import Pixels
from export.runner import Outputs, Runner, Target

Module = Callable[[Tensor], tuple[Tensor, Tensor]]


def torch_runner(module: Module, target: Target) -> Runner:
    """`module` takes and gives tensors on the target's device."""
    device = torch.device(target.device)

    @torch.inference_mode()
    def compute(images: Pixels) -> Outputs:
        with computing(target):
            # Copied, as torch takes neither negative strides nor arrays that are read-only; axes lie in memory as they
            # did, or no file would be tried with tensors that callers have transposed.
            logits, probabilities = module(torch.from_numpy(np.array(images, order="K")).to(device))
            if logits.device.type != device.type:
                raise RuntimeError(f"torch computed on {logits.device}, not on {device}.")
        return logits.cpu().numpy(), probabilities.cpu().numpy()

    return Runner(compute, provider_of(target))


def provider_of(target: Target) -> str:
    """Raises RuntimeError when the device is not there."""
    if target.device == "cpu":
        return "torch on the CPU"
    return f"torch on {torch.cuda.get_device_name()}, {target.arithmetic}"


@contextmanager
def computing(target: Target) -> Iterator[None]:
    """Set what torch keeps for the whole process, threads and TF32, and put it back."""
    threads, matmul = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    tf32 = target.arithmetic == "tf32"
    try:
        torch.set_num_threads(target.threads or threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        with (
            torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32),
            torch.autocast(target.device, torch.float16, enabled=target.arithmetic == "fp16"),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = matmul
