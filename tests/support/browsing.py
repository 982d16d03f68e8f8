"""A real browser on the pages: Chromium without a window, and the ways in which a person gives it files."""

import io
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, ServerProcess, skip_unless_required
from PIL import Image
from playwright.sync_api import Browser, FilePayload, JSHandle, Locator, Page, Route, expect, sync_playwright

from cifar_models.picture import Pixels, to_pixels

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 30_000  # milliseconds after which a test gives a page up
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SHIP = (ROOT / "docs" / "ship.png").read_bytes()
TEXT = b"This is no picture."

TRANSFER = """files => {
    const transfer = new DataTransfer();
    for (const { name, type, data } of files) {
        const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
}"""
PASTE = """transfer => document.activeElement.dispatchEvent(
    new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }))"""
READ = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"

expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's; skips the tests that ask where there is none, unless BROWSER_TESTS=required."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        skip_unless_required(f"needs a browser: install one of {', '.join(NAMES)} (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--disable-quic"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, server: ServerProcess, path: str = "/", **options: Any) -> Iterator[Page]:
    """A page of the server in a fresh profile. When it is left, it has asked no other host and broken no rule."""
    context = browser.new_context(**options)
    page = context.new_page()
    hosts: set[str] = set()
    faults: list[str] = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.goto(server.url + path)
    yield page
    assert hosts - {""} == {urlsplit(server.url).netloc}  # "": of a picture in the browser's own memory
    assert faults == []
    context.close()


def picture_file(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": data}


def choose(page: Page, *files: FilePayload) -> None:
    page.get_by_label("Choose pictures").set_input_files(files)


def take(page: Page, *files: FilePayload) -> None:
    for file in files:  # a camera takes one at a time
        page.get_by_label("Take a picture").set_input_files(file)


def drop(page: Page, *files: FilePayload) -> None:
    transfer = hold(page, files)
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    expect(page.locator("body")).to_have_class("over")
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.locator("body")).to_have_class("")


def paste(page: Page, *files: FilePayload) -> None:
    page.evaluate(PASTE, hold(page, files))


def hold(page: Page, files: tuple[FilePayload, ...]) -> JSHandle:
    """The files in the page, as if they were held over it or in its clipboard."""
    encoded = [
        {"name": file["name"], "type": file["mimeType"], "data": b64encode(file["buffer"]).decode()} for file in files
    ]
    return page.evaluate_handle(TRANSFER, encoded)


def card(page: Page, name: str) -> Locator:
    """What the page shows of the file of that name."""
    return page.get_by_role("article").filter(has=page.get_by_text(name, exact=True))


def shown_pixels(shown: Locator) -> Pixels:
    """The picture on a card, uint8 [32, 32, 3]."""
    rgba = np.array(shown.locator("canvas").evaluate(READ), np.uint8).reshape(32, 32, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def seen_pixels(data: bytes) -> Pixels:
    """What the network is given of an encoded picture, uint8 [32, 32, 3]."""
    return to_pixels(Image.open(io.BytesIO(data)))


def violations(page: Page) -> list[tuple[str, list[Any]]]:
    """Of accessibility, by axe: each rule's name and where it is broken."""
    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found]


def change_answers(page: Page, **members: Any) -> None:
    """Put other members into the server's predictions."""

    def fulfill(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        for prediction in content["predictions"]:
            prediction |= members
        route.fulfill(response=response, json=content)

    page.route("**/classify?*", fulfill)


def change_models(
    page: Page, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], *, times: int | None = 1
) -> None:
    """Have the page opened anew, with other bundles than the server has; after so many times it is told the truth."""

    def fulfill(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        route.fulfill(response=response, json={**content, "models": change(content["models"])})

    page.route("**/models", fulfill, times=times)
    page.reload()
