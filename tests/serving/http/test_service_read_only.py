"""The server writes into its temporary folders alone, and asks nobody for anything: every such call is watched."""

from ast import literal_eval
from pathlib import Path

import httpx
from bodies import assert_right, form, part, pictures, png, post, raw
from conftest import serving

# Python runs sitecustomize before anything else, in every process of the server.
WATCH = """
import os, sys

CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
CALLS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
report = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def watch(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not flags & WRITES:
            return
    elif event not in CHANGES and event not in CALLS:
        return
    kind = "call" if event in CALLS else "write"
    target = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    os.write(report, (repr((kind, event, str(target))) + "\\n").encode())

sys.addaudithook(watch)
"""


def test_the_server_writes_into_temporary_folders_and_asks_nobody(tmp_path: Path) -> None:
    watch, temporary, home, report = (tmp_path / name for name in ("watch", "temporary", "home", "report"))
    for folder in (watch, temporary, home):
        folder.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH)
    variables = {
        "PYTHONPATH": str(watch),
        "WATCHED": str(report),
        "TMPDIR": str(temporary),
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with serving(temporary / "log", shipped=True, variables=variables) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for body in (raw(pictures(3)), png(pictures(1)[0]), form(part("images", bytes(10)))):
                post(client, body)
            assert_right(post(client, raw(pictures(3))), pictures(3))
            for path in ("/", "/models", "/metrics", "/docs.json"):
                assert client.get(path).status_code == 200
    assert list(home.iterdir()) == []  # libraries that are not Python cannot be watched, but this is where they write
    seen = [literal_eval(line) for line in report.read_text().splitlines()]
    written = {Path(target) for kind, _, target in seen if kind == "write"}
    assert any(path.is_relative_to(temporary) for path in written)  # it was watched
    assert {path for path in written if not path.is_relative_to(temporary)} <= {Path("/dev/null")}
    called = {target for kind, _, target in seen if kind == "call"}
    assert {target for target in called if "127.0.0.1" not in target and "localhost" not in target} == set()
