"""GET / in a real browser, on a server that makes difficulties: it wants a key, has a broken bundle, is busy, stops."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from bodies import DEFAULT, pictures, raw
from browsing import PATIENCE, SHIP, card, choose, opened, picture_file
from conftest import MODELS, ServerProcess, serving
from playwright.sync_api import Browser, Page, Request, Route, expect
from wire import connected

KEY = "key-of-the-page"
MAX_BYTES = 400_000


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """With two bundles that work and one that does not; it holds one large body at a time."""
    folder = tmp_path_factory.mktemp("guarded")
    for name in (DEFAULT, "second", "broken"):
        shutil.copytree(MODELS / DEFAULT, folder / "bundles" / name)
    for file in (folder / "bundles" / "broken").glob("model*"):
        file.write_bytes(b"")
    limits: dict[str, Any] = {"max_bytes": MAX_BYTES, "max_held_bytes": MAX_BYTES}
    with serving(folder / "log", bundles=folder / "bundles", api_key=KEY, **limits) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def locked(browser: Browser, guarded: ServerProcess) -> Iterator[Page]:
    with opened(browser, guarded) as page:
        expect(page.get_by_role("heading", name="This server wants an API key")).to_be_visible()
        yield page


@pytest.fixture
def page(locked: Page) -> Page:
    give_key(locked, KEY)
    expect(locked.locator(".figure")).to_be_visible()
    return locked


def give_key(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use it").click()


def heading(page: Page, name: str, text: str) -> None:
    expect(card(page, name).get_by_role("heading")).to_have_text(text)


def test_the_key_is_asked_for_and_kept_in_memory_only(locked: Page) -> None:
    choose(locked, picture_file("ship.png", SHIP))
    heading(locked, "ship.png", "An API key is wanted")
    give_key(locked, "\u2022\u2022\u2022")  # what a password field shows, copied
    assert locked.get_by_label("API key").evaluate("field => field.validity.patternMismatch")
    expect(locked.get_by_label("API key")).to_be_visible()
    give_key(locked, "wrong")
    expect(locked.get_by_role("heading", name="This server does not know that API key")).to_be_visible()
    expect(locked.get_by_label("API key")).to_be_focused()
    give_key(locked, KEY)
    heading(locked, "ship.png", "ship")
    expect(locked.get_by_label("API key")).to_be_hidden()
    expect(locked.locator("#code")).to_contain_text("Authorization: Bearer $API_KEY")
    kept = locked.evaluate("[{ ...localStorage }, { ...sessionStorage }, document.cookie, document.body.innerHTML]")
    assert KEY not in json.dumps(kept)
    locked.reload()
    expect(locked.get_by_label("API key")).to_be_visible()


def test_no_picture_is_sent_again_with_a_key_that_is_known_to_be_wrong(locked: Page) -> None:
    sent: list[Request] = []
    locked.on("request", lambda request: sent.append(request) if "/classify" in request.url else None)
    choose(locked, picture_file("ship.png", SHIP))
    heading(locked, "ship.png", "An API key is wanted")
    give_key(locked, "wrong")
    expect(locked.get_by_role("heading", name="This server does not know that API key")).to_be_visible()
    give_key(locked, KEY)
    heading(locked, "ship.png", "ship")
    keys = [request.all_headers().get("authorization") for request in sent]
    assert keys == [None, f"Bearer {KEY}"]


def test_a_late_answer_to_no_key_does_not_undo_a_right_one(locked: Page) -> None:
    late: list[Route] = []
    locked.route("**/models", lambda route: late.append(route), times=1)
    locked.reload()
    choose(locked, picture_file("ship.png", SHIP))
    heading(locked, "ship.png", "An API key is wanted")
    give_key(locked, KEY)
    heading(locked, "ship.png", "ship")
    late[0].continue_()
    late[0].request.response()
    choose(locked, picture_file("later.png", SHIP))
    heading(locked, "later.png", "ship")
    expect(locked.get_by_label("API key")).to_be_hidden()
    expect(locked.locator(".figure")).to_be_visible()


def test_another_bundle_is_asked_about_all_pictures_again(page: Page) -> None:
    choose(page, picture_file("1.png", SHIP), picture_file("2.png", SHIP))
    for name in ("1.png", "2.png"):
        expect(card(page, name)).to_contain_text(f"by{DEFAULT}")
    page.get_by_label("Which bundle answers").select_option("second")
    for name in ("1.png", "2.png"):
        expect(card(page, name)).to_contain_text("bysecond")
    expect(page.locator("#code")).to_contain_text("/classify?model=second")
    expect(page.get_by_role("region", name="Bundle")).to_contain_text("broken is not served:")


def test_what_waited_to_be_asked_again_is_forgotten_when_another_bundle_is_chosen(page: Page) -> None:
    busy = partial(Route.fulfill, status=429, headers={"Retry-After": "2"}, body="{}")
    page.route(f"**/classify?*model={DEFAULT}", busy)
    choose(page, picture_file("first.png", SHIP))
    expect(card(page, "first.png")).to_contain_text("Asking again in 2 s.")
    page.get_by_label("Which bundle answers").select_option("second")
    expect(card(page, "first.png")).to_contain_text("bysecond")
    page.route("**/classify?*model=second", busy, times=1)
    choose(page, picture_file("later.png", SHIP))  # whose wait ends after the first one's
    expect(card(page, "later.png")).to_contain_text("Asking again in 2 s.")
    expect(card(page, "later.png")).to_contain_text("bysecond")
    expect(card(page, "first.png")).to_contain_text("bysecond")
    expect(page.locator("#count")).to_have_text("2 done")


def test_a_key_that_is_wanted_by_a_server_that_came_back_is_asked_for(locked: Page) -> None:
    locked.route("**/models", lambda route: route.abort())
    locked.reload()
    bundle = locked.get_by_role("region", name="Bundle")
    expect(bundle).to_contain_text("The server does not answer")
    expect(locked.get_by_label("API key")).to_be_hidden()
    locked.unroute_all()
    bundle.get_by_role("button", name="Try again").click()
    expect(locked.get_by_label("API key")).to_be_focused()


def test_a_failure_to_list_the_bundles_is_told_and_so_is_the_next_attempt(page: Page) -> None:
    page.route("**/models", lambda route: route.abort())
    page.reload()
    told = page.get_by_role("region", name="Bundle").get_by_role("status")
    expect(told).to_contain_text("The server does not answer.")
    page.route("**/models", lambda _: None)  # for ever
    page.get_by_role("button", name="Try again").click()
    expect(told).to_have_text("Asking the server what it has…")


def test_a_bundle_that_failed_is_listed_with_its_reason_and_cannot_be_chosen(page: Page) -> None:
    bundle = page.get_by_role("region", name="Bundle")
    expect(bundle.get_by_role("option", name="broken (failed its checks)")).to_be_disabled()
    expect(bundle).to_contain_text("broken is not served:")


def test_a_server_that_wants_a_key_shows_no_links_that_a_browser_cannot_open(locked: Page) -> None:
    expect(locked.get_by_label("API key")).to_be_visible()
    expect(locked.get_by_role("navigation")).to_be_hidden()


def test_a_busy_server_is_asked_again_when_it_says(page: Page, guarded: ServerProcess) -> None:
    with connected(guarded) as connection:
        fill(guarded, connection)
        choose(page, picture_file("ship.png", SHIP))
        expect(card(page, "ship.png")).to_contain_text("The server is busy. Asking again in 1 s.")
    heading(page, "ship.png", "ship")


def fill(server: ServerProcess, connection: socket.socket) -> None:
    """Have the server hold as many bytes as it may, of a body that does not end."""
    lines = ("POST /classify HTTP/1.1", "Host: here", "Content-Type: application/octet-stream")
    head = "\r\n".join((*lines, f"Authorization: Bearer {KEY}", f"Content-Length: {MAX_BYTES}", "", ""))
    connection.sendall(head.encode() + bytes(MAX_BYTES - 1))
    end = time.monotonic() + PATIENCE / 1000
    body = raw(pictures(1))
    sent = {"Content-Type": body.content_type, "Authorization": f"Bearer {KEY}"}
    while httpx.post(f"{server.url}/classify", content=body.content, headers=sent).status_code != 429:
        assert time.monotonic() < end, "the server is not full"


OWN_TIME = """
const alarms = [];
AbortSignal.timeout = (milliseconds) => {
  const controller = new AbortController();
  alarms.push([milliseconds / 1000, () => controller.abort(new DOMException("", "TimeoutError"))]);
  return controller.signal;
};
window.let_pass = (seconds) => alarms.filter(([when]) => when <= seconds).forEach(([, ring]) => ring());
"""


@pytest.mark.parametrize(
    ("said", "timeout"), [({"timeout": 120}, 120), ({"timeout": 300}, 300), ({}, 5)], ids=["120", "300", "older server"]
)
def test_an_answer_is_waited_for_as_long_as_the_server_may_take(
    page: Page, said: dict[str, float], timeout: int
) -> None:
    def change(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        content.pop("timeout", None)
        route.fulfill(response=response, json=content | said)

    page.add_init_script(OWN_TIME)
    page.route("**/models", change)
    page.reload()
    give_key(page, KEY)
    expect(page.locator(".figure")).to_be_visible()
    held: list[Route] = []
    page.route("**/classify?*", lambda route: held.append(route))
    for name in ("in-time.png", "never.png"):
        with page.expect_request("**/classify?*"):
            choose(page, picture_file(name, SHIP))
    page.evaluate(f"let_pass({timeout})")
    held[0].continue_()
    heading(page, "in-time.png", "ship")
    expect(card(page, "never.png")).to_contain_text("Asking…")
    page.evaluate(f"let_pass({timeout + 25})")
    heading(page, "never.png", "It took too long")


REFUSALS = [
    (503, '{"error": {"code": "not_ready", "message": "It stops."}}', "The server is not ready", "It stops."),
    (504, '{"error": {"code": "deadline_passed", "message": "Late."}}', "It took too long", "Late."),
    (413, '{"error": {"code": "too_large", "message": "Too much."}}', "It is too large", "Too much."),
    (502, "<h1>Bad gateway</h1>", "There is no answer", "502"),
    (200, "<h1>Log in</h1>", "There is no answer", "200"),
    (200, '{"status": "ok"}', "There is no answer", "not from the classifier"),
]


def test_every_refusal_is_put_into_words(page: Page) -> None:
    for number, (status, content, title, words) in enumerate(REFUSALS):
        page.route("**/classify?*", partial(Route.fulfill, status=status, body=content))
        choose(page, picture_file(f"{number}.png", SHIP))
        heading(page, f"{number}.png", title)
        expect(card(page, f"{number}.png")).to_contain_text(words)
        page.unroute_all()


def test_a_bundle_that_is_not_ready_yet_can_be_asked_about_again(page: Page) -> None:
    def delay(route: Route) -> None:
        response = route.fetch()
        models = [{**model, "ready": False} for model in response.json().get("models", [])]
        route.fulfill(response=response, json={**response.json(), "models": models})

    page.route("**/models", delay)
    page.reload()
    give_key(page, KEY)
    expect(page.get_by_label("Bundle").locator("option").first).to_contain_text("(not ready)")
    page.unroute_all()
    page.locator("#bundle-again").click()
    expect(page.get_by_label("Bundle").locator("option").first).not_to_contain_text("(not ready)")
    expect(page.locator("#bundle-again")).to_be_hidden()


PUT_INTO = """
(field, [kind, texts]) => {
  const data = new DataTransfer();
  for (const text of texts) data.setData("text/plain", text);
  data.items.add(new File(["a picture of the cell"], "cell.png", { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { ...options, clipboardData: data })
    : new DragEvent("drop", { ...options, dataTransfer: data });
  return field.dispatchEvent(event); // false: the browser does not put the text there
}
"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_key_that_comes_with_a_picture_is_taken_for_a_key(locked: Page, kind: str) -> None:
    field = locked.get_by_label("API key")
    assert field.evaluate(PUT_INTO, [kind, ["a key"]])
    expect(card(locked, "cell.png")).to_have_count(0)
    assert not field.evaluate(PUT_INTO, [kind, []])
    expect(card(locked, "cell.png")).to_have_count(1)


def test_a_server_that_stops_is_missed_and_nothing_is_lost(page: Page, guarded: ServerProcess) -> None:
    """The last of this file: it stops the server."""
    choose(page, picture_file("before.png", SHIP))
    heading(page, "before.png", "ship")
    guarded.process.terminate()
    guarded.process.wait(PATIENCE / 1000)
    choose(page, *(picture_file(f"{index}.png", SHIP) for index in range(6)))
    for index in range(6):
        heading(page, f"{index}.png", "The server does not answer")
    heading(page, "before.png", "ship")
    expect(page.get_by_role("button", name="Try the failed again")).to_be_visible()
