"""What the server loads into memory, and when."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

AFTER_IMPORT = """
import sys
import service
print(*sorted({"torch", "onnxruntime", "onnx", "torchvision"} & set(sys.modules)))
"""
AFTER_START = """
import asyncio, sys
import service

async def start_and_stop():
    await service.SERVER.start()
    print(service.SERVER.ready, *sorted({"torch", "onnxruntime", "onnx", "torchvision"} & set(sys.modules)))
    await service.SERVER.stop()

asyncio.run(start_and_stop())
"""


def run(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_service_loads_no_engine() -> None:
    assert run(AFTER_IMPORT) == []


def test_a_server_that_runs_onnx_does_not_load_torch() -> None:
    assert run(AFTER_START) == ["True", "onnxruntime"]


HEAPS_AFTER_START = """
import asyncio, ctypes, logging
import service

for name in ("", "bentoml", "uvicorn.error"):  # as in a worker
    logging.getLogger(name).addHandler(logging.NullHandler())

async def start_and_stop():
    await service.CifarClassifier.inner().start()
    await service.SERVER.stop()

asyncio.run(start_and_stop())
c = ctypes.CDLL(None)
c.fdopen.restype = ctypes.c_void_p
stdout = ctypes.c_void_p(c.fdopen(1, b"w"))
c.malloc_info(0, stdout)
c.fflush(stdout)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, which has a heap for each thread")
def test_the_threads_of_a_server_share_two_heaps() -> None:
    assert sum(word == "<heap" for word in run(HEAPS_AFTER_START)) == 2


REPORTING = """
import {package}, onnxruntime
onnxruntime.SessionOptions()
"""


@pytest.mark.parametrize("package", ["serving.engines.registry", "export.verify"])
def test_onnx_runtime_keeps_no_identifier_of_the_machine(package: str, tmp_path: Path) -> None:
    # It reports nothing where it finds the variables of a test or a build machine.
    ours = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV", "OMP_WAIT_POLICY") if name in os.environ}
    program = REPORTING.format(package=package)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**ours, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*deviceid*")) == []
