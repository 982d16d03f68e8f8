"""`bentoml build`: a Bento that serves elsewhere, holds what it needs and no more, and is made without a network."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from bodies import DEFAULT, post, probabilities, raw
from conftest import MODELS, ROOT, ServerProcess, serving

from cifar_models.bundle import open_bundle
from cifar_models.manifest import Artifact
from serving.engines.registry import ENGINES
from serving.page.files import MEDIA_TYPES

# Before anything else in every process: writes down each name that is looked up, and finds none of them.
NO_NETWORK = """
import os, socket
def refuse(host, *rest, **more):
    with open(os.environ["LOOKED_UP"], "a") as file:
        print(host, file=file)
    raise socket.gaierror(f"no network: {host}")
socket.getaddrinfo = refuse
"""


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """An environment whose Python finds no host, and the file of the names that it looked for."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    names = folder / "names"
    names.touch()
    kept = {name: value for name, value in os.environ.items() if name != "BENTOML_DO_NOT_TRACK"}
    return {**kept, "PYTHONPATH": str(folder), "LOOKED_UP": str(names)}, names


@pytest.fixture(scope="module")
def bento(offline: tuple[dict[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=ROOT,
        env={**offline[0], "BENTOML_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (home / "bentos" / "cifar_classifier").glob("*/")
    return built


@pytest.fixture(scope="module")
def bento_server(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with serving(folder / "log", bento=shutil.copytree(bento, folder / "bento")) as server:  # Python may write into it
        server.wait_until_ready()
        yield server


def test_building_asks_no_other_host(bento: Path, offline: tuple[dict[str, str], Path]) -> None:
    assert bento.is_dir()
    assert offline[1].read_text() == ""


def test_serving_asks_no_other_host(offline: tuple[dict[str, str], Path], tmp_path: Path) -> None:
    environment, names = offline
    # A start that stops by itself, as a report goes out when the command ends.
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--port", "0"],
        cwd=ROOT,
        env={**environment, "BENTOML_HOME": str(tmp_path), "CIFAR_MODEL": "nope"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "CIFAR_MODEL='nope'" in done.stdout + done.stderr
    assert names.read_text() == ""


def test_it_serves_the_golden_answers_without_the_source_tree(bento_server: ServerProcess, bento: Path) -> None:
    bundle = open_bundle(bento / "src" / "models" / DEFAULT)
    with httpx.Client(base_url=bento_server.url, timeout=30) as client:
        engine = client.get("/models").json()["models"][0]["engine"]

        def ask(images: np.ndarray) -> np.ndarray:
            return probabilities(post(client, raw(images)))

        artifact = bundle.manifest.find(ENGINES[engine].artifact)
        assert isinstance(artifact, Artifact)
        bundle.check_golden(artifact, ask, atol=ENGINES[engine].atol)


def test_a_relative_folder_of_bundles_is_one_of_the_bento_and_not_of_who_starts_it(bento: Path, tmp_path: Path) -> None:
    """BentoML's parent process, which checks, stands in another folder than its workers, which serve."""
    shutil.copytree(MODELS, tmp_path / "mine")
    own = shutil.copytree(bento, tmp_path / "bento")
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path), "CIFAR_BUNDLES": "mine"}
    line = [sys.executable, "-m", "bentoml", "serve", "--port", "0", str(own)]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert f"CIFAR_BUNDLES={own / 'src' / 'mine'} holds no bundle" in done.stdout + done.stderr


def test_it_serves_its_pages(bento_server: ServerProcess) -> None:
    with httpx.Client(base_url=bento_server.url, timeout=30) as client:
        for path in ("/", "/docs", "/docs.json", "/metrics"):
            assert client.get(path).status_code == 200


def test_it_holds_what_is_needed_and_nothing_else(bento: Path) -> None:
    source = bento / "src"
    found = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    serving_files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "serving").rglob("*")
        if path.suffix in (".py", ".html", *MEDIA_TYPES) and "client" not in path.parts
    }
    bundles = {
        path.relative_to(ROOT).as_posix()
        for path in MODELS.glob("[!.]*/*")
        if path.is_file() and (path.parent / "manifest.json").exists()
    }
    rest = found - serving_files - bundles
    assert rest - {name for name in rest if name.startswith("cifar_models/")} == {
        "bentofile.yaml",  # BentoML writes its own
        "requirements/gpu.txt",
        "requirements/serve.txt",
        "service.py",
    }
    assert serving_files | bundles <= found


def test_all_of_cifar_models_that_it_holds_is_imported(bento: Path) -> None:
    source = bento / "src"
    program = "import sys, service; print(*[name for name in sys.modules if name.startswith('cifar_models.')])"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=True)
    held = {path.stem for path in (source / "cifar_models").glob("*.py")} - {"__init__"}
    assert held == {name.removeprefix("cifar_models.") for name in done.stdout.split()}


def test_an_image_installs_the_pinned_requirements(bento: Path) -> None:
    # BentoML writes the file anew, with other spaces, and adds its own version once more.
    installed, pinned = (
        re.findall(r"--hash=\S+|^[\w-]+==[^\s;]+", file.read_text(), re.MULTILINE)
        for file in (bento / "env" / "python" / "requirements.txt", ROOT / "requirements" / "serve.txt")
    )
    assert set(installed) == set(pinned)
    assert len(pinned) > 100
