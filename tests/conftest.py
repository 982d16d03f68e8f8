"""What several tests share: tiny data made by a formula, a run and a bundle of them by the commands, a real server."""

import fcntl
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

# Of the make that runs the tests; those that they run are given their own.
os.environ.pop("MAKEFLAGS", None)
os.environ.pop("ARGS", None)
# Before torch loads its OpenMP: the tests start processes that compute at the same time on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else it starts processes, which load torch each
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")  # else it compiles a program for each set of instructions first

import commands
import httpx
import numpy as np
import pytest
from PIL import Image

from cifar_models.cifar10 import LABELS
from cifar_models.dataset import load_images
from cifar_models.picture import Pixels
from serving.settings import load_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
JPEG_COPY = "9bf8ec6662131253df8cd768c8a6a0289d1cf59f7f8a58a4eb8685126cd355f9"  # fingerprint of its test images
TRAIN_IMAGES, TEST_IMAGES = 20, 4  # of each class
TINY_EPOCHS = 8  # enough for int8 to agree with the checkpoint
# Files that take longest. Begun first, the last one does not keep the other processes waiting.
LONGEST = [
    *("test_bench_serving.py", "test_bench_gpu.py", "test_distributed.py", "test_export_architectures.py"),
    *("test_walks.py", "test_bench_page.py", "test_service_stop.py", "test_resuming.py", "test_parity.py"),
    *("test_export.py", "test_interrupt.py", "test_own_classes.py", "test_service_start.py"),
]
# For a command whose outcome shall not depend on what it would share with others: another order of sets, a fresh torch.
OWN_PROCESS: dict[str, Any] = {"PYTHONHASHSEED": "1"}
TINY_MODEL = "resnet20"  # a quarter of the default network's work
TINY_RECIPE = ("--model", TINY_MODEL, "--epochs", str(TINY_EPOCHS), "--batch-size", "25", "--validation", "0.2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def tiny_images(label: int, count: int, seed: int) -> Pixels:
    """uint8 [count, 32, 32, 3]: noise around a colour of the class's own, which a few steps learn to tell apart."""
    generator = np.random.default_rng(1000 * seed + label)
    colour = np.random.default_rng(label).integers(40, 216, 3)
    noise = generator.normal(0, 25, (count, 32, 32, 3))
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


def write_tiny_data(root: Path, classes: tuple[str, ...] = LABELS) -> Path:
    for split, count, seed in (("train", TRAIN_IMAGES, 1), ("test", TEST_IMAGES, 2)):
        for label, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index, pixels in enumerate(tiny_images(label, count, seed)):
                Image.fromarray(pixels).save(folder / f"{index:03}.png")
    return root


def command(*arguments: str | Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ...` as a user would, from the project's folder."""
    module, *options = map(str, arguments)
    done = commands.run(module, options, folder=ROOT, timeout=300, environment=environment)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def started(*arguments: str | Path) -> commands.Followed:
    """The same, without waiting for its end."""
    module, *options = map(str, arguments)
    return commands.Followed(module, options, folder=ROOT)


def on_a_full_disk(room: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command where no file can grow beyond so many bytes."""
    module, *options = map(str, arguments)
    return commands.run(module, options, folder=ROOT, timeout=300, limits={resource.RLIMIT_FSIZE: room})


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the first process of the tests that needs it makes, and all of them use."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder`, which `make` filled in this process or in another one."""
    folder.parent.mkdir(exist_ok=True)
    made = folder.with_name(f"{folder.name}.made")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_data(shared: Path) -> Path:
    return make_once(shared / "data" / "tiny", write_tiny_data)


@pytest.fixture(scope="session")
def tiny_run(tiny_data: Path, shared: Path) -> Path:
    """A run by the default recipe, by the command."""
    options = (*TINY_RECIPE, "--data", tiny_data, "--data-name", "tiny")
    return make_once(shared / "runs" / "tiny", lambda folder: command("training.fit", *options, "--out", folder))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path, tiny_data: Path, shared: Path) -> Path:
    """The bundle of `tiny_run`, by the command."""
    line = ("export", tiny_run / "best.pt", "--data", tiny_data)
    return make_once(shared / "models" / "tiny", lambda folder: command(*line, "--out", folder))


Verify = Callable[..., str]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Run the command in this process, which spares loading torch; returns the line that says what is wrong."""
    from export.verify import main  # it loads torch

    def verify(*arguments: Any) -> str:
        monkeypatch.setattr("sys.argv", ["verify", *map(str, arguments)])
        assert main() == 1
        *right, line = capsys.readouterr().out.splitlines()
        assert all("right" in earlier for earlier in right)
        assert line.startswith("wrong: ")
        return line

    return verify


class RunningServer:
    """A `bentoml serve`, by whomever it was started."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def wait_until_ready(self, timeout: float = 60) -> None:
        """Ask /readyz until it answers 200; a connection waits while the worker loads, so this hardly polls."""
        transport = httpx.HTTPTransport(retries=10)  # the port is not open for the first second
        with httpx.Client(base_url=self.url, transport=transport, timeout=timeout) as client:
            response = client.get("/readyz")
        assert response.status_code == 200, self.log.read_text()


class ServerProcess(RunningServer):
    """One that a test started, which can stop it."""

    def __init__(self, process: commands.Command, url: str, log: Path) -> None:
        super().__init__(url, log)
        self.process = process


def default_alone(folder: Path) -> Path:
    """`folder`, in which the default bundle lies: a server is ready once it has loaded those beside it too."""
    shipped = load_settings({})
    folder.mkdir(exist_ok=True)
    with suppress(FileExistsError):  # of an earlier server
        (folder / shipped.model).symlink_to(MODELS / shipped.model)
    return folder


@pytest.fixture(scope="module")
def default_bundle_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Which the servers serve that commands start in a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_BUNDLES", str(default_alone(tmp_path_factory.mktemp("bundles"))))
        yield


@contextmanager
def serving(
    log: Path,
    *arguments: str,
    bento: Path | None = None,
    shipped: bool = False,
    variables: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[ServerProcess]:
    """Start `bentoml serve` on a free port, with CIFAR_... settings given in lower case; stop it by SIGTERM.

    `arguments` are further ones of the command, `variables` of its environment.

    It serves this checkout, or a built Bento from a folder that is not this checkout. Of the bundles it serves the
    default one alone, unless `bundles` names others, or it is to find the `shipped` ones by itself, as a Bento does.
    """
    if not (bento or shipped):
        settings = {"bundles": default_alone(log.parent / "default alone"), **settings}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {f"CIFAR_{name.upper()}": str(value) for name, value in settings.items()}
    environment["BENTOML_HOME"] = str(log.parent / "bentoml")  # two under one home delete each other's metrics
    environment |= variables or {}
    line = ["serve", "--host", "127.0.0.1", "--port", str(port), *arguments, *([str(bento)] if bento else [])]
    folder = log.parent if bento else ROOT
    with log.open("w") as output, pytest.MonkeyPatch.context() as patch:
        patch.delenv("CIFAR_BUNDLES", raising=False)  # of a module that has the default bundle alone; here it is said
        process = commands.Command(
            "bentoml", line, folder=folder, stdout=output, stderr=output, environment=environment
        )
    try:
        yield ServerProcess(process, f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0, log.read_text()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The shipped bundles, served with no settings at all."""
    with serving(tmp_path_factory.mktemp("server") / "log", shipped=True) as process:
        process.wait_until_ready()
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from browsing import chromium  # which most tests do without

    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: "Browser", server: ServerProcess) -> Iterator["Page"]:
    from browsing import opened

    with opened(browser, server) as found:
        yield found


@pytest.fixture
def connect(kind: Any) -> Iterator[Callable[..., Any]]:
    """Make a client of the test's kind with these parameters, and close it after the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(kind(*arguments, **options))


def skip_unless_required(missing: str) -> NoReturn:
    """Skip a test for want of a browser or of node; it fails where BROWSER_TESTS=required."""
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the images that the shipped bundles were measured on; skips the test that asks where it is not."""
    folder = Path(os.environ.get("CIFAR_DATA", ROOT / "data"))
    wanted = "CIFAR-10 recompressed as JPEG in quality 75"
    if not folder.exists():
        pytest.skip(f"needs {wanted}: put it in {folder} or name its folder in CIFAR_DATA")
    if load_images(folder, "test").fingerprint() != JPEG_COPY:
        say = pytest.fail if "CIFAR_DATA" in os.environ else pytest.skip  # who names a folder means it
        say(f"needs {wanted}, and {folder} holds other images")
    return folder
