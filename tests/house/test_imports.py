"""Every arrow points at cifar_models, and only the door of the server knows HTTP."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

ALLOWED = {
    "cifar_models": {"cifar_models"},
    "training": {"cifar_models", "training"},
    "export": {"cifar_models", "export"},
    "serving": {"cifar_models", "serving"},
    "service.py": {"cifar_models", "serving"},
}
OURS = {"cifar_models", "training", "export", "serving", "service", "bench", "tests", "conftest"}
PACKAGES = ("cifar_models", "training", "export", "serving")
WITH_BENTOML = {"service.py", "serving/http/parent.py"}
WITH_STARLETTE = {f"serving/http/{name}.py" for name in ("access", "app", "answer", "door", "request", "server")}
# What each folder of the server may know of the others; all know its answers, errors and settings.
INSIDE_SERVING: dict[str, set[str]] = {
    "engines": set(),
    "batching": {"engines"},
    "observing": {"batching"},
    "decoding": set(),
    "description": {"decoding"},
    "page": set(),
    "http": {"engines", "batching", "observing", "decoding", "description", "page"},
    "client": set(),
}


def python_files(package: str) -> list[Path]:
    path = ROOT / package
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    """All that a file imports anywhere, in functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            names.add(ast.literal_eval(node.args[0]))
    return names


def imported_packages(path: Path) -> set[str]:
    """The top-level packages among them."""
    return {name.partition(".")[0] for name in imported_modules(path)}


def folders_of_serving(path: Path) -> set[str]:
    """The folders of `serving` among them."""
    return {name.split(".")[1] for name in imported_modules(path) if name.startswith("serving.")} & set(INSIDE_SERVING)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_only_at_allowed_packages(package: str) -> None:
    paths = python_files(package)
    assert paths
    for path in paths:
        assert imported_packages(path) & OURS <= ALLOWED[package], path


@pytest.mark.parametrize("folder", INSIDE_SERVING)
def test_a_folder_of_the_server_knows_only_those_below_it(folder: str) -> None:
    paths = python_files(f"serving/{folder}")
    assert paths
    for path in paths:
        assert folders_of_serving(path) <= {folder} | INSIDE_SERVING[folder], path


def test_every_folder_of_the_server_has_its_place_among_the_others() -> None:
    assert {path.parent.name for path in (ROOT / "serving").glob("*/*.py")} == set(INSIDE_SERVING)
    assert {path.name for path in (ROOT / "serving").glob("*.py")} == {
        "__init__.py",
        "answers.py",
        "errors.py",
        "settings.py",
    }


@pytest.mark.parametrize(
    ("library", "expected"), [("bentoml", WITH_BENTOML), ("_bentoml_sdk", set()), ("starlette", WITH_STARLETTE)]
)
def test_only_the_door_of_the_server_knows_http(library: str, expected: set[str]) -> None:
    files = [path for package in ALLOWED for path in python_files(package)]
    found = {path.relative_to(ROOT).as_posix() for path in files if library in imported_packages(path)}
    assert found == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_itself_holds_a_docstring_and_no_imports_but_os(package: str) -> None:
    path = ROOT / package / "__init__.py"
    module = ast.parse(path.read_text())
    assert ast.get_docstring(module)
    assert imported_packages(path) <= {"os"}
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(module))
