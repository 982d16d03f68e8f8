"""GET /docs.json is true: it names all that the code has, and the server answers nothing that it does not have."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bad_requests import BAD_REQUESTS, GOOD, GOOD_PNG, Bad
from bodies import FORM, Body, base64, document, encode, field, form, headers, part, pictures, post, raw
from conftest import ROOT, ServerProcess, serving
from described import Description, assert_described, operation
from openapi_spec_validator import OpenAPIV31SpecValidator

from cifar_models.manifest import PROBABILITY_DIGITS
from serving.decoding.media_types import FILE_FIELDS, JSON, PICTURES, RAW
from serving.decoding.options import Options
from serving.errors import Refusal
from serving.http.app import App
from serving.http.server import Server
from serving.page.files import FILES
from serving.settings import Settings

FORM_TYPE = FORM.partition(";")[0]
OPTIONS = set(Options.model_fields)


@pytest.fixture
def description(client: httpx.Client) -> Description:
    found: Description = client.get("/docs.json").json()
    return found


@pytest.fixture
def classify(description: Description) -> Description:
    return operation(description, "post", "/classify")


def schema(classify: Description, media_type: str) -> Description:
    found: Description = classify["requestBody"]["content"][media_type]["schema"]
    return found


def test_the_document_is_openapi_3_1(description: Description) -> None:
    assert description["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


def test_it_says_how_probabilities_are_rounded(description: Description) -> None:
    """Its words stand with the client's, which must not load the manifest."""
    prediction = description["components"]["schemas"]["Prediction"]["properties"]
    assert prediction["probability"]["description"].endswith(f"rounded to {PROBABILITY_DIGITS} digits")


def test_it_says_which_release_answers_as_the_changelog_does(description: Description) -> None:
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest
    release = description["info"]["x-release"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev0)?", release)
    assert latest[1].strip("[]") == ("Unreleased" if release.endswith(".dev0") else release)


def test_it_has_every_path_that_is_answered(description: Description) -> None:
    async def nobody(*_: Any) -> None: ...

    assert set(description["paths"]) == App(nobody, Server(Settings())).paths - set(FILES)


def test_it_has_every_refusal_and_says_what_it_means(description: Description, classify: Description) -> None:
    shared = description["components"]["responses"]
    for kind in Refusal.__subclasses__():
        assert kind.__doc__, f"{kind.__name__} needs a docstring: it is its meaning in the document"
        assert f"`{kind.code}`" in shared[kind.__name__]["description"]
        assert str(kind.status) in classify["responses"] or kind.status in (404, 405)
    described = json.dumps(classify["responses"]) + json.dumps(shared)
    assert {kind.code for kind in Refusal.__subclasses__()} <= set(re.findall(r"`(\w+)`", described))


def test_it_has_every_content_type_that_is_read(classify: Description) -> None:
    assert set(classify["requestBody"]["content"]) == {*PICTURES, FORM_TYPE, JSON, RAW}


def test_it_has_every_option_wherever_it_may_stand(classify: Description) -> None:
    assert {parameter["name"] for parameter in classify["parameters"]} == OPTIONS
    assert set(schema(classify, FORM_TYPE)["properties"]) == {FILE_FIELDS[0], *OPTIONS}
    assert set(schema(classify, JSON)["properties"]) == {"images", *OPTIONS}


def test_it_holds_nothing_that_client_generators_stumble_over(description: Description) -> None:
    """openapi-python-client 0.29 made calls that raised TypeError and ValueError, and 80 types for one error object."""
    for found in objects(description):
        assert "properties" not in found or not {"anyOf", "oneOf", "allOf"} & set(found), "fields, or variants"
        assert all("const" not in place for place in found.get("prefixItems", ())), "an item is of a type"
    for response in description["components"]["responses"].values():
        assert response["content"][JSON]["schema"] == {"$ref": "#/components/schemas/Refused"}


def objects(value: Any) -> Iterator[Description]:
    """All in it, and itself if it is one."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


KINDS = [Body(encode(GOOD, kind.removeprefix("image/").upper()), kind) for kind in PICTURES] + [
    form(part("image", GOOD_PNG), part("images", GOOD_PNG), field("top_k", "2"), field("strict", "true")),
    document([base64(GOOD_PNG), GOOD.tolist()], top_k=2, strict=True, model="cifarnet"),
    raw(pictures(2)),
]


@pytest.mark.parametrize("body", KINDS, ids=lambda body: body.content_type)
def test_what_it_says_may_be_sent_gets_the_answer_that_it_says(
    client: httpx.Client, description: Description, body: Body
) -> None:
    response = post(client, body, top_k=3, strict="true", model="cifarnet")
    assert response.status_code == 200
    assert_described(response, description)


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name)
def test_every_refusal_of_a_bad_request_is_in_it(client: httpx.Client, description: Description, bad: Bad) -> None:
    response = client.post(f"/classify?{bad.query}", content=bad.body.content, headers=headers(bad.body))
    assert response.status_code == bad.status
    assert_described(response, description)


def test_every_get_answers_as_it_says(client: httpx.Client, description: Description) -> None:
    paths = [path for path, operations in description["paths"].items() if "get" in operations]
    assert len(paths) == len(description["paths"]) - 1
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200
        assert_described(response, description)


def test_a_page_that_has_not_changed_is_answered_as_it_says(client: httpx.Client, description: Description) -> None:
    response = client.get("/", headers={"If-None-Match": client.get("/").headers["ETag"]})
    assert response.status_code == 304
    assert_described(response, description)


def test_its_limits_and_answers_are_those_of_this_server(tmp_path: Path) -> None:
    limits: dict[str, Any] = {
        "max_images": 300,
        "max_queue": 300,
        "max_bytes": 1_000_000,
        "max_pixels": 9_999,
        "timeout": 0.001,
    }
    with serving(tmp_path / "log", **limits) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        server.wait_until_ready()
        description = client.get("/docs.json").json()
        found = operation(description, "post", "/classify")
        assert schema(found, JSON)["properties"]["images"]["maxItems"] == 300
        assert schema(found, FORM_TYPE)["properties"]["images"]["maxItems"] == 300
        assert schema(found, "image/png")["maxLength"] == 1_000_000
        assert schema(found, RAW)["maxLength"] == 300 * 32 * 32 * 3
        assert "9,999 pixels" in found["requestBody"]["description"]
        assert client.get("/models").json()["timeout"] == 0.001
        late = post(client, raw(pictures(300)))
        assert late.status_code == 504
        assert_described(late, description)


def test_its_commands_work(server: ServerProcess, description: Description, tmp_path: Path) -> None:
    run_commands(description, server, tmp_path)


def run_commands(description: Description, server: ServerProcess, folder: Path, **environment: str) -> None:
    """Each must succeed."""
    (folder / "cat.png").write_bytes(encode(pictures(1)[0]))
    operations = [each for methods in description["paths"].values() for each in methods.values()]
    commands = [sample["source"] for each in operations for sample in each["x-codeSamples"]]
    assert len(commands) == len(operations) + 3
    for command in commands:
        there = command.replace("http://localhost:3000", server.url)
        assert there != command
        curl = ["bash", "-euo", "pipefail", "-c", there.replace("curl ", "curl --silent --show-error --fail ")]
        variables = {**os.environ, **environment}
        subprocess.run(curl, cwd=folder, env=variables, check=True, capture_output=True, timeout=60)


FUZZ = (
    *("--generation-deterministic", "--max-examples", "25", "--phases", "coverage,fuzzing"),
    # A picture can be whole or damaged, and 32x32 or not, which no schema can say; and an option may be written in
    # more ways than the one that is described, such as "yes" for true.
    *("--exclude-checks", "positive_data_acceptance,negative_data_rejection"),
    *("--continue-on-failure", "--suppress-health-check", "all", "--no-color"),
)


def test_nothing_that_a_fuzzer_sends_gets_a_500_or_an_answer_that_is_not_in_it(
    server: ServerProcess, tmp_path: Path
) -> None:
    schemathesis = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/docs.json", *FUZZ]
    done = subprocess.run(schemathesis, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    described = len(httpx.get(f"{server.url}/docs.json").json()["paths"])
    assert f"{described - 1} selected" in done.stdout  # all but the document itself
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 100  # type: ignore[index]
