"""A folder like that of the project, in which a document can be followed from top to bottom without a trace here."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT, RunningServer
from documents import Block
from examples import COMMANDS, run

_OURS = ("models", "runs", "data", ".venv", ".git")  # not the project's own there
_STARTS = ("make serve", "bentoml serve")


def starts_server(block: Block) -> bool:
    """Whether the last thing that it does is to serve, until somebody stops it."""
    return block.language == "sh" and any(start in block.code.splitlines()[-1] for start in _STARTS)


class Workshop:
    """The project's files by links, bundles and an installed environment, and `data`; what is made here stays here."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        for path in ROOT.iterdir():
            if path.name not in _OURS:
                (folder / path.name).symlink_to(path)
        shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns(".*"))
        (folder / "data").symlink_to(data)
        self._install(folder / ".venv")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}",
            "BENTOML_PORT": str(self.port),
            "BENTOML_HOST": "127.0.0.1",
            "BENTOML_HOME": str(folder / "bentoml"),
            "PYTHONDONTWRITEBYTECODE": "1",  # the sources here are links
        }

    def _install(self, environment: Path) -> None:
        """The environment that runs this, with the marks by which make knows that it is complete."""
        environment.mkdir()
        for path in Path(sys.prefix).iterdir():
            if path.name not in (".serve", ".full", ".bench"):
                (environment / path.name).symlink_to(path)
        for stamp in (".serve", ".full", ".bench"):
            (environment / stamp).touch()

    def follow(self, block: Block) -> str:
        """Do what a block says, in this folder; what it writes."""
        return run(block, self.url, self.folder, self.environment)

    @contextmanager
    def serving(self, block: Block) -> Iterator[RunningServer]:
        """Start the server as the block says; stop it as a person does, by Ctrl-C."""
        log = self.folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*COMMANDS["sh"], block.code],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # a terminal's Ctrl-C reaches all of its processes
            )
        try:
            server = RunningServer(self.url, log)
            server.wait_until_ready()
            yield server
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
