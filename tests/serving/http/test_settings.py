"""The server's settings come from CIFAR_... variables; what cannot be is refused in one line."""

from pathlib import Path

import pytest
from conftest import MODELS
from pydantic import SecretStr

from cifar_models.errors import InputError
from serving.settings import Settings, available_cores, load_settings, share_of_cores

VALUES = {
    "CIFAR_BUNDLES": ("/srv/models", Path("/srv/models")),
    "CIFAR_MODEL": ("resnet", "resnet"),
    "CIFAR_ENGINE": ("onnxruntime-cpu-fp32", "onnxruntime-cpu-fp32"),
    "CIFAR_ALLOW_FALLBACK": ("true", True),
    "CIFAR_WORKERS": ("3", 3),
    "CIFAR_THREADS": ("5", 5),
    "CIFAR_MAX_BATCH": ("128", 128),
    "CIFAR_MAX_QUEUE": ("9999", 9999),
    "CIFAR_MAX_WAIT": ("0.25", 0.25),
    "CIFAR_MAX_IMAGES": ("12", 12),
    "CIFAR_MAX_BYTES": ("4000", 4000),
    "CIFAR_MAX_PIXELS": ("4096", 4096),
    "CIFAR_TIMEOUT": ("0.5", 0.5),
    "CIFAR_LOG_SAMPLE": ("0.5", 0.5),
    "CIFAR_LOG_SLOW": ("inf", float("inf")),
    "CIFAR_MAX_CONNECTIONS": ("99", 99),
    "CIFAR_CLIENT_TIMEOUT": ("0.5", 0.5),
    "CIFAR_MAX_HELD_BYTES": ("33554432", 33554432),
    "CIFAR_API_KEY": ("open-sesame", SecretStr("open-sesame")),
    "CIFAR_API_KEY_FILE": ("/run/keys", Path("/run/keys")),
    "CIFAR_CORS_ORIGINS": ("https://a.example, http://b:80", "https://a.example, http://b:80"),
    "CIFAR_TLS_CERT": (__file__, Path(__file__)),
    "CIFAR_TLS_KEY": (__file__, Path(__file__)),
}


def test_no_setting_is_needed() -> None:
    settings = load_settings({})
    assert (settings.bundles / settings.model / "manifest.json").is_file()
    assert settings.bundles == MODELS


def test_every_setting_has_a_variable_and_is_read_from_it() -> None:
    assert {f"CIFAR_{name}".upper() for name in Settings.model_fields} == set(VALUES)
    settings = load_settings({name: text for name, (text, _) in VALUES.items()})
    for name, (_, value) in VALUES.items():
        assert getattr(settings, name.removeprefix("CIFAR_").lower()) == value
        assert getattr(load_settings({}), name.removeprefix("CIFAR_").lower()) != value


def test_what_is_not_ours_is_not_read() -> None:
    assert load_settings({"PATH": "/bin", "MAX_BATCH": "0", "CIFAR_DATA": "/data"}) == load_settings({})


@pytest.mark.parametrize("name", ["CIFAR_NOPE", "CIFAR_MAXBATCH", "CIFAR_", "CIFAR_ENGINE_THREADS"])
def test_an_unknown_variable_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(InputError) as refused:
        load_settings({name: "1"})
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name} is no setting.")
    assert all(known in line for known in VALUES)


@pytest.mark.parametrize("service", ["CIFAR", "CIFAR_CLASSIFIER"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SERVICE_HOST", "10.0.0.1"), ("SERVICE_PORT", "80"), ("SERVICE_PORT_HTTP", "80")),
        *(("PORT", "tcp://10.0.0.1:80"), ("PORT_80_TCP", "tcp://10.0.0.1:80"), ("PORT_80_TCP_ADDR", "10.0.0.1")),
    ],
)
def test_what_kubernetes_tells_of_a_service_of_our_name_is_no_setting(service: str, name: str, value: str) -> None:
    assert load_settings({f"{service}_{name}": value}) == Settings()


def test_a_value_that_looks_like_such_a_name_is_a_value() -> None:
    assert load_settings({"CIFAR_MODEL": "a_SERVICE_HOST=b"}).model == "a_SERVICE_HOST=b"


@pytest.mark.parametrize("name", ["CIFAR_PORT", "CIFAR_HTTP_PORT"])
def test_a_port_that_somebody_wants_to_set_is_no_link(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is no setting"):
        load_settings({name: "9000"})


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_has_as_many_cores_as_its_share_of_time_comes_to(
    tmp_path: Path, files: dict[str, str], cores: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert share_of_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("CIFAR_WORKERS", "0", "greater than or equal to 1"),
        ("CIFAR_WORKERS", "100000", "less than or equal to 1024"),
        ("CIFAR_THREADS", "-1", "greater than or equal to 0"),
        ("CIFAR_THREADS", "100000", "less than or equal to 1024"),
        ("CIFAR_MAX_BATCH", "0", "greater than or equal to 1"),
        ("CIFAR_MAX_BATCH", "1000000000", "less than or equal to 4096"),
        ("CIFAR_MAX_BATCH", "many", "valid integer"),
        ("CIFAR_MAX_BATCH", "", "valid integer"),
        ("CIFAR_MAX_BATCH", "1.5", "valid integer"),
        ("CIFAR_MAX_QUEUE", "-5", "greater than or equal to 1"),
        ("CIFAR_MAX_IMAGES", "0", "greater than or equal to 1"),
        ("CIFAR_MAX_BYTES", "16MB", "valid integer"),
        ("CIFAR_MAX_BYTES", "3071", "greater than or equal to 3072"),
        ("CIFAR_MAX_PIXELS", "1023", "greater than or equal to 1024"),
        ("CIFAR_TIMEOUT", "0", "greater than or equal to 0.001"),
        ("CIFAR_TIMEOUT", "1e-9", "greater than or equal to 0.001"),
        ("CIFAR_TIMEOUT", "301", "less than or equal to 300"),
        ("CIFAR_TIMEOUT", "nan", "less than or equal to 300"),
        ("CIFAR_TIMEOUT", "inf", "less than or equal to 300"),
        ("CIFAR_TIMEOUT", "5s", "valid number"),
        ("CIFAR_LOG_SAMPLE", "-0.1", "greater than or equal to 0"),
        ("CIFAR_LOG_SAMPLE", "2", "less than or equal to 1"),
        ("CIFAR_LOG_SAMPLE", "nan", "less than or equal to 1"),
        ("CIFAR_LOG_SLOW", "0", "greater than 0"),
        ("CIFAR_LOG_SLOW", "nan", "greater than 0"),
        ("CIFAR_CLIENT_TIMEOUT", "1e-9", "greater than or equal to 0.001"),
        ("CIFAR_MAX_CONNECTIONS", "0", "greater than or equal to 1"),
        ("CIFAR_MAX_HELD_BYTES", "-1", "greater than or equal to 0"),
        ("CIFAR_CORS_ORIGINS", "page.example", "'page.example' is no origin"),
        ("CIFAR_CORS_ORIGINS", "https://page.example/", "is no origin"),
        ("CIFAR_CORS_ORIGINS", "https://a.example https://b.example", "is no origin"),
    ],
)
def test_an_impossible_value_is_refused_with_its_variable_and_the_rule(name: str, value: str, rule: str) -> None:
    with pytest.raises(InputError) as refused:
        load_settings({name: value})
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name}={value!r} cannot be used: ")
    assert rule in line


def test_a_queue_that_cannot_hold_the_largest_request_is_refused() -> None:
    with pytest.raises(InputError, match="CIFAR_MAX_QUEUE=1000 is less than CIFAR_MAX_IMAGES=1024"):
        load_settings({"CIFAR_MAX_QUEUE": "1000"})


def test_room_for_less_than_one_body_is_refused() -> None:
    with pytest.raises(InputError, match="CIFAR_MAX_HELD_BYTES=4000 is less than CIFAR_MAX_BYTES=5000"):
        load_settings({"CIFAR_MAX_HELD_BYTES": "4000", "CIFAR_MAX_BYTES": "5000"})
    assert load_settings({"CIFAR_MAX_BYTES": "5000"}).held_bytes > 5000


@pytest.mark.parametrize(
    ("given", "missing"), [("CIFAR_TLS_CERT", "CIFAR_TLS_KEY"), ("CIFAR_TLS_KEY", "CIFAR_TLS_CERT")]
)
def test_a_certificate_and_its_key_come_together(given: str, missing: str) -> None:
    with pytest.raises(InputError, match=f"{missing} is missing"):
        load_settings({given: __file__})
    with pytest.raises(InputError, match=f"{given}=/no/such/file is no file"):
        load_settings({given: "/no/such/file", missing: __file__})


def test_a_key_does_not_show_in_the_settings() -> None:
    assert "open-sesame" not in repr(load_settings({"CIFAR_API_KEY": "open-sesame"}))


def test_a_file_of_settings_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("# by python -m bench.tune\n\nCIFAR_MAX_BATCH=128\nCIFAR_WORKERS=3\n")
    settings = load_settings({"CIFAR_SETTINGS": str(file), "CIFAR_WORKERS": "2"})
    assert (settings.max_batch, settings.workers) == (128, 2)


@pytest.mark.parametrize(
    "line",
    ["CIFAR_WORKERS", "WORKERS=2", "export CIFAR_API_KEY=secret", "CIFAR_API_KEY: secret", "CIFAR_SETTINGS=other"],
)
def test_a_line_that_is_no_setting_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    file = tmp_path / "settings.env"
    file.write_text(f"CIFAR_MAX_BATCH=128\n{line}\n")
    with pytest.raises(InputError) as error:
        load_settings({"CIFAR_SETTINGS": str(file)})
    assert str(error.value) == f"{file}:2 is no setting; write CIFAR_NAME=value."  # and not what stands there


def test_what_the_file_says_is_held_to_the_same_rules(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("CIFAR_WORKERS=0\n")
    with pytest.raises(InputError, match="CIFAR_WORKERS='0' cannot be used"):
        load_settings({"CIFAR_SETTINGS": str(file)})


def test_a_file_of_settings_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"CIFAR_SETTINGS={tmp_path}/none cannot be read"):
        load_settings({"CIFAR_SETTINGS": f"{tmp_path}/none"})


def test_workers_share_the_cores_unless_threads_are_given() -> None:
    assert load_settings({}).engine_threads == available_cores()
    assert load_settings({"CIFAR_WORKERS": "1000"}).engine_threads == 1
    assert load_settings({"CIFAR_WORKERS": "1000", "CIFAR_THREADS": "3"}).engine_threads == 3


def test_the_smallest_limits_let_one_image_through() -> None:
    limits = {"CIFAR_MAX_PIXELS": "1024", "CIFAR_MAX_BYTES": "3072", "CIFAR_TIMEOUT": "0.001", "CIFAR_THREADS": "1024"}
    settings = load_settings(limits)
    assert (settings.max_pixels, settings.max_bytes) == (32 * 32, 32 * 32 * 3)


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).max_batch = 1
