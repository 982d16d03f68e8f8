"""The closed loop: so many connections, each asking again as soon as it has its answer. By wrk."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.peers.model import LABELS
from bench.serving.errors import WrongAnswer
from bench.serving.server import HOST, ServerProcess
from bench.serving.workload import Workload
from cifar_models.errors import InputError

_SCRIPT = Path(__file__).with_name("wrk.lua")
_MARK = "RESULT "
_TIMEOUT = 30  # seconds: a slow answer is a late one, not a lost one


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """What one run of wrk saw."""

    connections: int
    rate: float  # right answers a second, once all connections are busy
    p50_ms: float  # of all answers, refusals too
    p99_ms: float
    cpu_ms: float  # that the server's processes computed for a right answer; little depends on what else runs
    refused: int  # answers that are not 200
    lost: int  # connections that failed; an answer that had not come when wrk stopped is not counted
    statuses: dict[str, int]


def find_wrk() -> str:
    """The program. Raises InputError that names the package."""
    program = shutil.which("wrk")
    if program is None:
        raise InputError("wrk is not installed; it is the package `wrk` of Debian, Ubuntu and Homebrew.")
    return program


def closed_loop(server: ServerProcess, workload: Workload, *, connections: int, seconds: float) -> ClosedLoop:
    """Ask for `seconds`, rounded to whole ones. Raises WrongAnswer when an answer with status 200 is not right."""
    program = find_wrk()
    with TemporaryDirectory(prefix="bench-wrk-") as folder:
        write(workload, Path(folder))
        load = ("-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "--timeout", f"{_TIMEOUT}s")
        check = (folder, workload.content_type, str(len(workload.bodies)), str(workload.tolerance))
        computed = server.cpu_seconds()
        url = f"http://{HOST}:{server.port}/classify"
        done = subprocess.run(
            [program, *load, "-s", str(_SCRIPT), url, "--", *check], capture_output=True, text=True, check=False
        )
    server.check_alive()
    computed = server.cpu_seconds() - computed
    results = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode != 0 or not results or done.stderr:
        raise InputError(f"wrk failed with code {done.returncode}:\n{done.stdout}{done.stderr}")
    return read(json.loads(results[0]), connections, computed)


def read(result: dict[str, float | dict[str, int]], connections: int, cpu_seconds: float) -> ClosedLoop:
    """`result` as wrk.lua writes it. Raises WrongAnswer."""
    numbers = {key: value for key, value in result.items() if not isinstance(value, dict)}
    statuses = result["statuses"]
    assert isinstance(statuses, dict)
    if numbers["wrong"]:
        raise WrongAnswer(
            f"{numbers['wrong']:.0f} of {statuses['200']} answers at {connections} connections are wrong."
        )
    return ClosedLoop(
        connections,
        numbers["rate"],
        numbers["p50_ms"],
        numbers["p99_ms"],
        1000 * cpu_seconds / max(1.0, numbers["rate"] * numbers["seconds"]),  # with what it had half done at the end
        sum(count for status, count in statuses.items() if status != "200"),
        int(numbers["lost"]),
        statuses,
    )


def write(workload: Workload, folder: Path) -> None:
    """The files that wrk.lua reads."""
    (folder / "labels").write_text("\n".join(LABELS))
    for index, (body, expected) in enumerate(zip(workload.bodies, workload.expected, strict=True), start=1):
        (folder / f"{index}.body").write_bytes(body)
        np.savetxt(folder / f"{index}.expected", expected, fmt="%.9g")
