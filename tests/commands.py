"""A command in a process of its own that need not load torch first, which takes longer than what most commands do."""

import os
import runpy
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

# Loaded once, in a process that does nothing else and that each command's is a copy of. No module that is a command.
_LOADED = ("torch.export", "torch.onnx", "onnxscript", "onnxruntime", "tensorboard", "training.loop", "export.bundle")
_forks = get_context("forkserver")
_forks.set_forkserver_preload(list(_LOADED))


def run(module: str, arguments: list[str], *, folder: Path, timeout: float) -> "subprocess.CompletedProcess[str]":
    """What `python -m module` does in `folder`, and says; `timeout` in seconds. Raises TimeoutError."""
    with TemporaryDirectory() as outputs:
        said, complained = Path(outputs, "stdout"), Path(outputs, "stderr")
        environment = dict(os.environ)
        process = _forks.Process(target=_become, args=(module, arguments, folder, environment, said, complained))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{module} {arguments} took more than {timeout} s\n{complained.read_text()}")
        return subprocess.CompletedProcess(
            [module, *arguments], process.exitcode, said.read_text(), complained.read_text()
        )


def _become(
    module: str, arguments: list[str], folder: Path, environment: dict[str, str], said: Path, complained: Path
) -> None:
    """Be `python -m module`."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for path, stream in ((said, sys.stdout), (complained, sys.stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
