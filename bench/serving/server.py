"""Servers as processes: started, asked until they are ready, watched, stopped."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.serving.errors import ServerDied, WrongAnswer
from bench.serving.workload import Workload

HOST = "127.0.0.1"
ROOT = Path(__file__).parent.parent.parent
OURS = "ours"
ENGINE = "onnxruntime-cpu-int8"  # what the peers run; ours would take the GPU where there is one

_UVICORN = ("uvicorn", "--host", HOST, "--port", "{port}", "--no-access-log", "--log-level", "warning")
_FAST = ("--loop", "uvloop", "--http", "httptools")
SERVERS: dict[str, tuple[str, ...]] = {
    OURS: ("bentoml", "serve", "--host", HOST, "--port", "{port}"),
    "uvicorn": (*_UVICORN, *_FAST, "bench.peers.uvicorn_bare:app"),
    "fastapi": (*_UVICORN, *_FAST, "bench.peers.fastapi_plain:app"),
    "litserve": ("bench.peers.litserve_batched", HOST, "{port}"),
    "bentoml": ("bentoml", "serve", "bench.peers.bentoml_batchable:Classifier", "--host", HOST, "--port", "{port}"),
    "documented": ("bentoml", "serve", "bench.peers.bentoml_documented:Classifier", "--host", HOST, "--port", "{port}"),
}
TITLES = {
    OURS: "ours (`bentoml serve`)",
    "uvicorn": "ours under bare uvicorn (the bound)",
    "fastapi": "FastAPI + ONNX Runtime, no batching",
    "litserve": "LitServe, max_batch_size 64, batch_timeout 2 ms",
    "bentoml": "BentoML, `batchable=True`, settings as ours",
    "documented": "BentoML, `batchable=True`, as its documentation shows",
}

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_LOG_LINES = 20
_IDLE = (0.1, 0.015)  # a server that computes for so many seconds of so many at most is idle; the system counts in 0.01
_ENVIRONMENT = {"BENTOML_DO_NOT_TRACK": "True", "CIFAR_ENGINE": ENGINE}


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a server's processes, in MiB."""

    rss: float  # of all; what they share counts in each
    pss: float | None  # of all; what they share counts once; where the system tells it
    worker_rss: float  # of the largest process


class ServerProcess:
    """A running server and the processes that it started."""

    def __init__(self, process: subprocess.Popen[Any], port: int, log: Path) -> None:
        self.port = port
        self._process = process
        self._log = log
        self._family: list[psutil.Process] = []

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own. Raises OSError."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_START_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def wait_until_ready(self) -> None:
        """Until GET /readyz is 200. Raises ServerDied."""
        deadline = time.perf_counter() + _START_SECONDS
        while time.perf_counter() < deadline:
            self.check_alive()
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    break
            except OSError:
                pass  # the port is not open yet
            time.sleep(_POLL_SECONDS)
        else:
            raise self._died(f"was not ready after {_START_SECONDS:.0f} s")

    def check_answer(self, workload: Workload) -> None:
        """One request gets the right answer. Raises WrongAnswer."""
        status, answer = self.ask("POST", "/classify", workload.bodies[0], workload.content_type)
        if status != 200 or not workload.is_right(0, answer):
            raise WrongAnswer(f"The first answer is wrong: {status} {answer[:300]!r}\n{self._log_end()}")

    def remember_family(self) -> None:
        """From here on, each of the processes must stay alive."""
        parent = psutil.Process(self._process.pid)
        self._family = [parent, *parent.children(recursive=True)]

    def check_alive(self) -> None:
        """Raises ServerDied."""
        if self._process.poll() is not None:
            raise self._died(f"stopped with code {self._process.returncode}")
        for member in self._family:
            if not member.is_running() or member.status() == psutil.STATUS_ZOMBIE:
                raise self._died(f"lost its process {member.pid}")

    def memory(self) -> Memory:
        infos = [member.memory_full_info() for member in self._family]
        rss = [info.rss / 2**20 for info in infos]
        pss = sum(info.pss for info in infos) / 2**20 if all(hasattr(info, "pss") for info in infos) else None
        return Memory(sum(rss), pss, max(rss))

    def cpu_seconds(self) -> float:
        """That its processes have computed so far."""
        times = [member.cpu_times() for member in self._family]
        return float(sum(time_.user + time_.system for time_ in times))

    def pause(self) -> None:
        """Once it has done what is left of its work; until `resume` it costs the others nothing. Raises ServerDied."""
        deadline = time.perf_counter() + _STOP_SECONDS
        seconds, little = _IDLE
        computed, before = self.cpu_seconds(), 0.0
        while computed - before > little:
            if time.perf_counter() > deadline:
                raise self._died(f"computed for {_STOP_SECONDS:.0f} s after its last request")
            time.sleep(seconds)
            computed, before = self.cpu_seconds(), computed
        for member in self._family:
            member.suspend()

    def resume(self) -> None:
        for member in self._family:
            with suppress(psutil.NoSuchProcess):
                member.resume()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left of its processes."""
        if self._process.poll() is None:
            self.remember_family()
            self.resume()
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = psutil.wait_procs([member for member in self._family if member.pid != self._process.pid], timeout=3)
        for member in left:
            member.kill()

    def _died(self, what: str) -> ServerDied:
        return ServerDied(f"The server {what}. Its log ends:\n{self._log_end()}")

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a start took, in seconds, and what the server then held."""

    ready: float  # from the start of the process to /readyz
    first_answer: float  # to the first right answer of /classify
    memory: Memory


@contextmanager
def running(
    name: str, workload: Workload, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[ServerProcess, Startup]]:
    """Start a server of SERVERS on a free port, ready and once asked; stop it. Raises ServerDied, WrongAnswer.

    `settings` are CIFAR_... variables, of ours.
    """
    port = free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in SERVERS[name])]
    with TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        log = Path(folder) / "log"
        # Two servers under one BENTOML_HOME delete each other's metrics.
        environment = {**os.environ, **_ENVIRONMENT, **(settings or {}), "BENTOML_HOME": folder}
        started = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        server = ServerProcess(process, port, log)
        try:
            server.wait_until_ready()
            ready = time.perf_counter() - started
            server.check_answer(workload)
            first_answer = time.perf_counter() - started
            server.remember_family()
            yield server, Startup(ready, first_answer, server.memory())
            server.check_alive()
        finally:
            server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
