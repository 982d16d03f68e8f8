"""Who may ask: API keys, pages of other hosts, TLS. Over HTTP, against real servers."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from bodies import assert_right, headers, pictures, post, raw
from conftest import ServerProcess, command, serving
from memory import resident_memory
from metrics_text import Figures, grown
from test_description import run_commands
from wire import connected, read_to_end

KEY, OLD_KEY, NEW_KEY = "key-in-the-environment", "first~key(in)the!file", "second-key-in-the-file"
PAGE = "https://page.example"
CONNECTIONS = 300


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys"
    file.write_text(f"{OLD_KEY}\n\n{NEW_KEY}\n")
    origins = f"{PAGE}, http://localhost:8000, HTTPS://Capital.Example:443, http://plain.example:80"
    with serving(folder / "log", api_key=KEY, api_key_file=file, cors_origins=origins) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def stranger(guarded: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        yield client


def test_the_commands_of_its_description_send_the_key(
    guarded: ServerProcess, stranger: httpx.Client, tmp_path: Path
) -> None:
    stranger.headers["Authorization"] = f"Bearer {KEY}"
    run_commands(stranger.get("/docs.json").json(), guarded, tmp_path, API_KEY=KEY)
    assert "This server wants its key" in stranger.get("/docs").text


def test_the_command_of_the_client_sends_the_key(guarded: ServerProcess) -> None:
    line = ("serving.client", "docs/ship.png", "--url", guarded.url)
    assert "docs/ship.png,ship," in command(*line, CIFAR_API_KEY=KEY).stdout
    refused = command(*line, check=False, CIFAR_API_KEY="another")
    assert refused.returncode == 2
    assert "HTTP 401" in refused.stderr
    assert "another" not in refused.stderr


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer {OLD_KEY}", f"BEARER {NEW_KEY}"])
def test_every_key_opens(stranger: httpx.Client, value: str) -> None:
    stranger.headers["Authorization"] = value
    assert_right(post(stranger, raw(pictures(2))), pictures(2))
    assert stranger.get("/models").status_code == 200
    assert stranger.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"Bearer {KEY} {KEY}",
        f"Basic {KEY}",
        KEY,
        f"Bearer {OLD_KEY}\t{NEW_KEY}",
        "Bearer \u00ff",
    ],
)
@pytest.mark.parametrize(
    "path", ["/classify", "/models", "/docs", "/metrics", "/docs.json", "/nope", "/page/", "/livez/"]
)
def test_without_a_key_nothing_is_told(stranger: httpx.Client, value: str | None, path: str) -> None:
    sent = headers(raw(pictures(1))) | ({} if value is None else {"Authorization": value})
    response = stranger.request(
        "POST" if path == "/classify" else "GET", path, headers=_latin(sent), content=bytes(3072)
    )
    assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert response.headers["content-type"] == "application/json"
    assert KEY not in response.text


def _latin(sent: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]


def test_two_keys_in_one_request_are_none(stranger: httpx.Client) -> None:
    both = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {KEY}")]
    assert stranger.get("/models", headers=both).status_code == 401


@pytest.mark.parametrize(("path", "route"), [("/models", "/models"), ("/docs", "/docs"), ("/invented", "other")])
def test_a_request_without_a_key_is_counted_under_what_it_asked_for(
    guarded: ServerProcess, stranger: httpx.Client, path: str, route: str
) -> None:
    with httpx.Client(base_url=guarded.url, timeout=30, headers={"Authorization": f"Bearer {KEY}"}) as allowed:
        before = Figures(allowed)
        stranger.get(path)
        after = Figures(allowed)
    assert grown(before, after, "cifar_requests_total", route=route, status="401", code="unauthorized") == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/", "/page/main.js"])
def test_health_and_the_page_that_asks_for_a_key_need_none(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code == 200


def test_no_key_is_written_to_the_log(guarded: ServerProcess, stranger: httpx.Client) -> None:
    stranger.get("/models", headers={"Authorization": f"Bearer {KEY}"})
    stranger.get(f"/models?key={KEY}", headers={"Authorization": f"Bearer {KEY}x"})
    log = guarded.log.read_text()
    assert log
    assert not [key for key in (KEY, OLD_KEY, NEW_KEY) if key in log]


@pytest.mark.parametrize("key", ["", "two words", "gr\u00fcn", "line\nbreak"])
def test_an_impossible_key_stops_the_start_and_is_not_repeated(tmp_path: Path, key: str) -> None:
    done = command("bentoml", "serve", "--port", "0", check=False, BENTOML_HOME=str(tmp_path), CIFAR_API_KEY=key)
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("error: CIFAR_API_KEY is no API key")
    assert not key or key not in line


@pytest.mark.parametrize("text", [None, "", "\n \n", "a key\n"])
def test_a_file_without_usable_keys_stops_the_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    variables = {"BENTOML_HOME": str(tmp_path), "CIFAR_API_KEY_FILE": str(file)}
    done = command("bentoml", "serve", "--port", "0", check=False, **variables)
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert str(file) in line
    assert "a key" not in line.replace("no key", "")


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:8000", "https://capital.example", "http://plain.example"])
def test_a_preflight_needs_no_key_and_allows_what_a_page_sends(stranger: httpx.Client, origin: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    response = stranger.options("/classify", headers={"Origin": origin, **asked})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "POST" in response.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(
        response.headers["access-control-allow-headers"].lower().split(", ")
    )


def test_pages_may_read_answers_and_errors(stranger: httpx.Client) -> None:
    for key, status in ((KEY, 200), ("wrong", 401)):
        sent = {"Origin": PAGE, "Authorization": f"Bearer {key}", **headers(raw(pictures(1)))}
        response = stranger.post("/classify", content=raw(pictures(1)).content, headers=sent)
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in response.headers["vary"]


def test_other_pages_may_not(stranger: httpx.Client) -> None:
    response = stranger.get("/livez", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in response.headers
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    assert stranger.options("/classify", headers=asked).status_code == 400


def test_without_settings_there_are_no_keys_and_no_cors(client: httpx.Client) -> None:
    response = client.get("/models", headers={"Origin": PAGE})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: install it to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.mark.parametrize("wrong", ["CIFAR_TLS_CERT", "CIFAR_TLS_KEY"])
def test_a_wrong_certificate_or_key_stops_the_start_in_one_line(
    certificate: tuple[Path, Path], tmp_path: Path, wrong: str
) -> None:
    (tmp_path / "junk.pem").write_text("This is no PEM file.")
    cert, key = certificate
    files = {"CIFAR_TLS_CERT": str(cert), "CIFAR_TLS_KEY": str(key), wrong: str(tmp_path / "junk.pem")}
    done = command("bentoml", "serve", "--port", "0", check=False, BENTOML_HOME=str(tmp_path / "home"), **files)
    assert done.returncode == 1
    said = (
        f"error: CIFAR_TLS_CERT={files['CIFAR_TLS_CERT']} and CIFAR_TLS_KEY={files['CIFAR_TLS_KEY']} are no certificate"
    )
    assert said in done.stdout + done.stderr


@pytest.fixture(scope="module")
def encrypted(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    cert, key = certificate
    with serving(tmp_path_factory.mktemp("tls") / "log", tls_cert=cert, tls_key=key, client_timeout=3) as server:
        yield server


@pytest.fixture
def https(certificate: tuple[Path, Path], encrypted: ServerProcess) -> Iterator[httpx.Client]:
    url = encrypted.url.replace("http://", "https://")
    transport = httpx.HTTPTransport(retries=10, verify=ssl.create_default_context(cafile=str(certificate[0])))
    with httpx.Client(base_url=url, transport=transport, timeout=60) as client:
        assert client.get("/readyz").status_code == 200
        yield client


def test_with_a_certificate_the_server_speaks_https(encrypted: ServerProcess, https: httpx.Client) -> None:
    assert_right(post(https, raw(pictures(3))), pictures(3))
    with httpx.Client(base_url=encrypted.url, timeout=30) as client, pytest.raises(httpx.TransportError):
        client.get("/livez")  # nothing goes over the wire unencrypted


def test_a_connection_that_never_shakes_hands_is_closed(encrypted: ServerProcess, https: httpx.Client) -> None:
    with connected(encrypted) as connection:
        assert read_to_end(connection) == b""


def test_an_encrypted_connection_takes_little_memory(
    certificate: tuple[Path, Path], encrypted: ServerProcess, https: httpx.Client
) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    before = resident_memory(encrypted)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            plain = stack.enter_context(connected(encrypted))
            stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        assert https.get("/readyz").status_code == 200
        assert resident_memory(encrypted) - before < CONNECTIONS * 128 * 1024  # half of what asyncio keeps for each


def test_bentoml_s_own_options_for_https_hold_too(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = map(str, certificate)
    context = ssl.create_default_context(cafile=cert)
    with serving(tmp_path / "log", "--ssl-certfile", cert, "--ssl-keyfile", key) as server:
        url = server.url.replace("http:", "https:")
        transport = httpx.HTTPTransport(retries=10, verify=context)
        with httpx.Client(base_url=url, transport=transport, timeout=60) as client:
            assert client.get("/readyz").status_code == 200
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):  # which never say a word of TLS
                stack.enter_context(connected(server))
            assert httpx.get(f"{url}/readyz", verify=context).status_code == 200


def test_half_of_a_certificate_stops_the_start(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.touch()
    variables = {"BENTOML_HOME": str(tmp_path), "CIFAR_TLS_CERT": str(cert)}
    done = command("bentoml", "serve", "--port", "0", check=False, **variables)
    assert done.returncode == 1
    assert "CIFAR_TLS_KEY is missing" in done.stdout + done.stderr
