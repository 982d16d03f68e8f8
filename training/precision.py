"""What training multiplies in: bfloat16 where the device is fast in it, else float32, which may be TF32 on CUDA."""

import torch

from training.recipe import Recipe


def compute_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """What the recipe asks for, or what is fast."""
    if recipe.precision != "auto":
        return torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    return fast_dtype(device)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies in it (a CPU without would be many times slower), else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32


def computes_in(dtype: torch.dtype, device: torch.device) -> str:
    """In words, for the run's record. cuDNN takes float32 for leave to convolve in TF32, as it does by default."""
    name = str(dtype).removeprefix("torch.")
    if dtype is not torch.float32 or device.type != "cuda" or not torch.backends.cudnn.allow_tf32:
        return name
    has_tf32 = torch.cuda.get_device_capability(device) >= (8, 0)
    return f"{name}, convolutions in TF32" if has_tf32 else name
