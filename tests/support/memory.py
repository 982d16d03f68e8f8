"""How much memory a server's processes have needed."""

from pathlib import Path

import pytest
from conftest import ServerProcess

MEGABYTE = 1024 * 1024


def workers(server: ServerProcess) -> list[int]:
    """The processes that `bentoml serve` started."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    if not children.exists():
        pytest.skip("needs Linux: there /proc tells a process's memory")
    return [int(pid) for pid in children.read_text().split()]


def peak_memory(server: ServerProcess) -> int:
    """Bytes, of the largest process."""
    return memory(server, "VmHWM")


def forget_peak(server: ServerProcess) -> None:
    """From here on the peak is a new one (proc(5): clear_refs)."""
    for pid in workers(server):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def resident_memory(server: ServerProcess) -> int:
    """Bytes, of the largest process, now."""
    return memory(server, "VmRSS")


def memory(server: ServerProcess, name: str) -> int:
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in workers(server)]
    return max(int(text.partition(f"{name}:")[2].split()[0]) for text in texts) * 1024
