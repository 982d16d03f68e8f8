"""A command in a process of its own that need not load torch first, which takes longer than what most commands do.

What Python and its libraries read while they load is that of the tests then: a command that is given other variables,
or runs elsewhere, where its modules are others, begins with a Python that has loaded nothing.
"""

import os
import resource
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import get_context, set_start_method
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self

# Loaded once, in a process that does nothing else and that each command's is a copy of. No module that is a command, or
# that reads settings when it is loaded, as the server's do. Torch alone would load its parts at their first use.
_LOADED = (
    *("torch._dynamo", "torch.export._trace", "torch.onnx._internal.exporter._core", "torch.distributed.tensor"),
    *("torch.utils.serialization", "torchvision", "onnxscript.function_libs.torch_lib.ops", "onnxruntime"),
    *("onnxruntime.quantization", "tensorboard", "training.loop", "export.bundle"),
    *("bentoml_cli.cli", "bentoml_cli.serve", "circus.arbiter", "uvicorn.middleware.proxy_headers"),
)
_ROOT = Path(__file__).parents[2]  # whose modules are loaded
_READ_LATER = ("BENTOML_", "CIFAR_")  # variables that are read when the command runs
_forks = get_context("forkserver")
_forks.set_forkserver_preload(list(_LOADED))


class Command:
    """`python -m module`, running in `folder`. As a context manager it waits for its end, or kills it at an error."""

    def __init__(
        self,
        module: str,
        arguments: list[str],
        *,
        folder: Path,
        stdout: IO[Any] | int,
        stderr: IO[Any] | int,
        environment: Mapping[str, str] | None = None,
        limits: Mapping[int, int] | None = None,
    ) -> None:
        """`environment` comes on top of this process's; `limits` are of `resource`'s kind, in its units."""
        given = environment or {}
        variables = {**os.environ, **given}
        self._process: ForkServerProcess | _Fresh
        if folder == _ROOT and all(name.startswith(_READ_LATER) for name in given):
            streams = {1: _Inherited(stdout), 2: _Inherited(stderr)}
            own = (module, arguments, folder, variables, limits or {}, streams)
            self._process = _forks.Process(target=_become, args=own)
            self._process.start()
        else:
            assert not limits, "a Python that loads torch itself needs room of its own"
            line = [sys.executable, "-m", module, *arguments]
            self._process = _Fresh(
                line, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, timeout: float = 60) -> int:
        """Its exit code, or minus the signal that ended it. Raises TimeoutError after so many seconds, and kills it."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"it took more than {timeout} s")
        return self._process.exitcode

    def poll(self) -> int | None:
        """As `wait`, of one that has ended."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:  # else the number may be another process's by now
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error:
            self._process.kill()
        self.wait()


class _Fresh(subprocess.Popen[bytes]):
    """A Python that has loaded nothing, as a process of `multiprocessing`."""

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        return self.poll()


class Followed(Command):
    """A command whose output is read while it runs, and its errors when it has ended."""

    def __init__(self, module: str, arguments: list[str], *, folder: Path) -> None:
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading)
        self._errors = TemporaryFile("w+")  # noqa: SIM115 — closed with the command
        super().__init__(module, arguments, folder=folder, stdout=writing, stderr=self._errors)
        os.close(writing)

    @property
    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def __exit__(self, *error: Any) -> None:
        self.stdout.close()
        try:
            super().__exit__(*error)
        finally:
            self._errors.close()


def run(
    module: str,
    arguments: list[str],
    *,
    folder: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    limits: Mapping[int, int] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """What `python -m module` does in `folder`, and says; `timeout` in seconds. Raises TimeoutError."""
    with TemporaryFile("w+") as said, TemporaryFile("w+") as complained:
        streams = {"stdout": said, "stderr": complained}
        command = Command(module, arguments, folder=folder, environment=environment, limits=limits, **streams)
        try:
            exit_code = command.wait(timeout)
        except TimeoutError as error:
            complained.seek(0)
            raise TimeoutError(f"{module} {arguments}: {error}\n{complained.read()}") from None
        said.seek(0)
        complained.seek(0)
        return subprocess.CompletedProcess([module, *arguments], exit_code, said.read(), complained.read())


class _Inherited:
    """An open file that the command gets as well."""

    def __init__(self, file: IO[Any] | int) -> None:
        self._number = file if isinstance(file, int) else file.fileno()

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _received, (DupFd(self._number),)


def _received(file: Any) -> int:
    return int(file.detach())


def _become(
    module: str,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    limits: dict[int, int],
    streams: dict[int, int],
) -> None:
    """Be `python -m module`."""
    set_start_method(None, force=True)  # else its own processes begin as this one did, and each loads torch anew
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in streams.items():
        os.dup2(file, number)
        os.close(file)
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
