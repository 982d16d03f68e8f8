"""deploy/ agrees with the server and with the Bento. It is not run: a test machine has no container engine."""

from typing import Any

import pytest
import yaml
from conftest import ROOT

from serving.settings import Settings

DEPLOY = ROOT / "deploy"
USER = 1034  # of BentoML's images
STOPPING = Settings().timeout + Settings().client_timeout + 2  # seconds at most: docs/operations.md


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.fixture
def pod() -> dict[str, Any]:
    (deployment, service) = documents("kubernetes.yaml")
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def test_the_probes_ask_what_the_server_answers(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert probes == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_a_pod_may_not_write_and_is_not_root(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsUser"] == USER
    home = next(each["value"] for each in container["env"] if each["name"] == "BENTOML_HOME")
    assert home.startswith(container["volumeMounts"][0]["mountPath"])


def test_a_pod_has_time_to_finish(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pause + STOPPING <= pod["terminationGracePeriodSeconds"]


def test_compose_gives_time_to_finish_too() -> None:
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        assert float(service["stop_grace_period"].removesuffix("s")) >= STOPPING


def test_compose_may_not_write_either() -> None:
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        assert service["read_only"]
        assert service["environment"]["BENTOML_HOME"].startswith("/tmp")
        assert "/readyz" in service["healthcheck"]["test"][-1]


def test_the_image_for_gpu_installs_what_the_bento_holds() -> None:
    bentofile = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    dockerfile = (DEPLOY / "gpu.Dockerfile").read_text()
    assert "src/requirements/gpu.txt" in dockerfile
    assert "requirements/gpu.txt" in bentofile["include"]
