"""What `python -m export` refuses, and that a refusal leaves everything as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import command, on_a_full_disk, write_tiny_data
from damaged import copy_bundle, edit_manifest

from cifar_models.bundle import open_bundle
from cifar_models.checkpoint import Checkpoint, load_checkpoint
from cifar_models.cifar10 import LABELS
from cifar_models.errors import InputError
from export.__main__ import main
from export.bundle import export_bundle
from export.parity import ParityError
from export.reference import build_reference
from export.source import Source, load_source
from export.tolerance import TOLERANCES


@pytest.fixture(scope="module")
def source(tiny_run: Path, tiny_data: Path) -> Source:
    return load_source(tiny_run / "best.pt", tiny_data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run the command in this process, which spares loading torch; returns the line with which it refuses."""

    def refused(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["export", *map(str, arguments)])
        with pytest.raises(InputError) as error:
            main()
        (line,) = str(error.value).splitlines()
        return line

    return refused


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"precious/thesis.txt": "a thesis"}, id="with files"),
        pytest.param({"precious/manifest.json": '{"name": "a web app", "icons": []}'}, id="another's manifest"),
        pytest.param({"precious/manifest.json": '["schema_version", "artifacts"]'}, id="a list"),
        pytest.param({"precious/manifest.json": "schema_version, artifacts"}, id="no JSON"),
        pytest.param({"precious/manifest.json/thesis.txt": "a thesis"}, id="a folder called so"),
        pytest.param({"precious": "a thesis"}, id="a file"),
        pytest.param({}, id="empty"),
    ],
)
def test_what_is_no_bundle_is_not_replaced(
    refused: Refused, tiny_run: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    out = tmp_path / "precious"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if not files:
        out.mkdir()
    before = contents(tmp_path)
    assert str(out) in refused(tiny_run / "best.pt", "--out", out)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_damaged_or_old_bundle_is_replaced(
    tiny_bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    edit_manifest(folder, lambda manifest: manifest.update(schema_version=1, labels="none"))
    (folder / "model.onnx").unlink()
    formats = ["--formats", "torchscript-fp32"]
    command("export", tiny_run / "best.pt", "--out", folder, "--data", tiny_data, *formats)
    assert [artifact.key for artifact in open_bundle(folder).manifest.artifacts] == ["torchscript-fp32"]


def test_a_name_that_no_folder_can_have_is_refused(refused: Refused, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / ("m" * 300)
    assert refused(tiny_run / "best.pt", "--out", out) == (
        f"--out {out} cannot be used (File name too long); name another folder."
    )


@pytest.mark.parametrize("name", ["with space", ".hidden"])
def test_a_name_that_cannot_be_a_models_is_refused(refused: Refused, tiny_run: Path, tmp_path: Path, name: str) -> None:
    assert name in refused(tiny_run / "best.pt", "--out", tmp_path / name)


@pytest.mark.parametrize("option", ["runs/x/best.pt", "--out models/x", "--license MIT", "--formats onnx-fp32"])
def test_what_would_do_nothing_where_all_architectures_are_checked_is_refused(refused: Refused, option: str) -> None:
    assert refused("--all-architectures", *option.split()).endswith("give it alone.")


def test_architectures_that_there_is_no_room_to_check_are_refused(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    words = refused("--all-architectures")
    assert "(Not a directory); make room in the folder for temporary files" in words


@pytest.mark.parametrize("name", ["", "all rights reserved", "MIT\n"])
def test_what_is_no_name_of_a_license_is_refused(refused: Refused, tiny_run: Path, tmp_path: Path, name: str) -> None:
    line = refused(tiny_run / "best.pt", "--out", tmp_path / "m", "--license", name)
    assert f"--license: {name!r} is no SPDX identifier" in line


def test_a_checkpoint_trained_on_other_data_is_refused(refused: Refused, tiny_run: Path, tmp_path: Path) -> None:
    data = write_tiny_data(tmp_path / "data", classes=LABELS[:3])
    assert "other images (tiny)" in refused(tiny_run / "best.pt", "--out", tmp_path / "m", "--data", data)
    assert not (tmp_path / "m").exists()


def test_a_file_that_is_no_checkpoint_is_refused(refused: Refused, tiny_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    assert str(path) in refused(path, "--out", tmp_path / "m", "--data", tiny_data)
    path.write_text("weights")
    assert str(path) in refused(path, "--out", tmp_path / "m", "--data", tiny_data)


def test_a_checkpoint_in_the_bundle_that_it_would_replace_is_refused(
    refused: Refused, tiny_bundle: Path, tiny_run: Path, tmp_path: Path
) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    path = folder / "run" / "best.pt"
    path.parent.mkdir()
    path.write_bytes((tiny_run / "best.pt").read_bytes())
    assert refused(path, "--out", folder) == f"{path} would go with what is replaced in --out {folder}; move it first."
    assert path.exists()


def test_a_checkpoint_in_the_bundle_that_a_link_points_to_stays(
    tiny_bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    path = copy_bundle(tiny_bundle, tmp_path / "tiny") / "best.pt"
    path.write_bytes((tiny_run / "best.pt").read_bytes())
    link = tmp_path / "link"
    link.symlink_to("tiny")
    command("export", path, "--out", link, "--data", tiny_data, "--formats", "torchscript-fp32")
    assert not link.is_symlink()
    assert path.exists()


def test_a_checkpoint_that_is_a_link_to_itself_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.symlink_to(path.name)
    assert f"{path} cannot be read (" in refused(path, "--out", tmp_path / "m")


def with_weight(checkpoint: Checkpoint, name: str, value: float) -> Checkpoint:
    """The checkpoint with one number of one weight replaced."""
    weight = checkpoint.weights[name].clone()
    weight[(0,) * weight.ndim] = value
    return replace(checkpoint, weights={**checkpoint.weights, name: weight})


def test_no_weight_that_is_not_a_number_is_exported(source: Source) -> None:
    floating = [name for name, tensor in source.checkpoint.weights.items() if tensor.is_floating_point()]
    kinds = {name.rpartition(".")[2]: name for name in floating}  # the last of each
    assert kinds.keys() >= {"weight", "bias", "running_mean", "running_var"}
    for name in kinds.values():
        with pytest.raises(InputError, match="not finite"):
            build_reference(with_weight(source.checkpoint, name, torch.nan), source.validation)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, 1e30])
def test_no_weight_that_float16_cannot_hold_is_exported(source: Source, value: float) -> None:
    *_, last = (
        name for name, weight in source.checkpoint.weights.items() if weight.numel() > 1000
    )  # the others stay as they are
    with pytest.raises(InputError, match=f"{last.removeprefix('network.')} are not finite as float16"):
        build_reference(with_weight(source.checkpoint, last, value), source.validation)


def test_a_refused_export_leaves_the_bundle_before_it(
    tiny_bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(tiny_run / "best.pt")
    next(iter(checkpoint.weights.values())).fill_(torch.nan)
    checkpoint.save(tmp_path / "run" / "best.pt")
    folder = copy_bundle(tiny_bundle, tmp_path / "models" / "tiny")
    before = contents(folder)
    done = command("export", tmp_path / "run" / "best.pt", "--out", folder, "--data", tiny_data, check=False)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 2
    assert line.startswith("error: ")
    assert "not finite" in line
    assert contents(tmp_path / "models") == {f"tiny/{name}": data for name, data in before.items()}


def test_an_interrupted_export_leaves_the_bundle_before_it(tiny_bundle: Path, source: Source, tmp_path: Path) -> None:
    def interrupt(_: str) -> None:  # at the first report every file has been written
        partial = [path for path in tmp_path.rglob("*") if path.suffix == ".partial"]
        assert len(list(partial[0].iterdir())) == 2
        raise KeyboardInterrupt

    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    before = contents(folder)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(source, folder, cuda=False, formats=["torchscript-fp32", "safetensors-fp32"], report=interrupt)
    assert contents(tmp_path) == {f"tiny/{name}": data for name, data in before.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_an_int8_file_that_loses_too_much_is_left_out_and_the_report_says_why(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demanding = replace(TOLERANCES["onnx-int8"], accuracy=-1.0)  # it would have to be better by all images
    monkeypatch.setitem(TOLERANCES, "onnx-int8", demanding)
    lines: list[str] = []
    formats = ["onnx-fp32", "onnx-int8", "safetensors-fp32"]
    export_bundle(source, tmp_path / "tiny", cuda=False, formats=formats, report=lines.append)
    (line,) = (line for line in lines if line.startswith("No model.int8.onnx: "))
    assert "onnx-int8 does not agree with the checkpoint" in line
    assert " of 40 images), allowed is " in line
    assert [artifact.key for artifact in open_bundle(tmp_path / "tiny").manifest.artifacts] == [
        "onnx-fp32",
        "safetensors-fp32",
    ]
    assert not (tmp_path / "tiny" / "model.int8.onnx").exists()
    with pytest.raises(ParityError, match="onnx-int8 does not agree"):  # without it nothing could be served
        export_bundle(source, tmp_path / "other", cuda=False, formats=["onnx-int8", "safetensors-fp32"])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("formats", ["safetensors-fp32", "torch-export-fp32", "torch-export-fp32 safetensors-fp32"])
def test_formats_of_which_none_can_be_served_are_refused(
    refused: Refused, tiny_run: Path, tmp_path: Path, formats: str
) -> None:
    words = refused(tiny_run / "best.pt", "--out", tmp_path / "m", "--formats", *formats.split())
    assert f"--formats {formats} alone would be served by nothing" in words


def test_a_bundle_that_cannot_be_written_is_refused_before_the_work(
    refused: Refused, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "m"
    line = refused(tiny_run / "best.pt", "--out", folder, "--data", tiny_data)
    assert line.endswith(f"cannot be written (File exists); {folder} is as it was before.")


@pytest.mark.parametrize("key", ["torchscript-fp32", "onnx-fp32"])
def test_a_full_disk_leaves_the_bundle_before_it(
    tiny_bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path, key: str
) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    before = contents(tmp_path)
    line = ("export", tiny_run / "best.pt", "--out", folder, "--data", tiny_data, "--formats", key)
    done = on_a_full_disk(512_000, *line)
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1]
        == f"error: {folder}, or a file in the folder for temporary ones (TMPDIR), cannot be written (File too large); "
        f"{folder} is as it was before."
    )
    assert contents(tmp_path) == before
