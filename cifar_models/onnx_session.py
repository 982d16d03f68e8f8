"""ONNX Runtime, computing where it was asked to or not at all."""

import ctypes
from pathlib import Path
from typing import Any

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Provider = str | tuple[str, dict[str, Any]]  # its name, perhaps with its options


def open_session(path: Path, options: Any, provider: Provider) -> Any:
    """An InferenceSession of the file.

    Raises RuntimeError when ONNX Runtime would compute elsewhere, and when a library is missing that its CUDA provider
    loads, which it names.
    """
    import onnxruntime  # not for a process that only checks, or that runs other formats

    wanted = provider if isinstance(provider, str) else provider[0]
    if wanted == CUDA:
        onnxruntime.preload_dlls()
        # It would fall back to the CPU with no more than a line in its log.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        # Where it fails to open there, it would hide why behind its failure to open on the CPU, which it tries next.
        session = onnxruntime.InferenceSession(path, options, providers=[provider], enable_fallback=0)
    except Exception as error:  # several kinds of its own
        missing = missing_library() if wanted == CUDA else None
        if missing is None:
            raise
        raise RuntimeError(missing) from error
    ran = session.get_providers()[0]
    if ran != wanted:
        raise RuntimeError(f"ONNX Runtime runs {path} by {ran}, not by {wanted}.")
    return session


def missing_library() -> str | None:
    """Why ONNX Runtime's CUDA provider cannot be loaded, which it says to its log alone; None where it can."""
    import onnxruntime

    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not library.exists():
        return None
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error).replace(f"{library.parent}/", "")  # which is nobody else's business
    return None
