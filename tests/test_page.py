"""GET / in a real browser: pictures in, answers out, by every way in and for everybody."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from bodies import DEFAULT, LABELS, encode, pictures, post, raw
from browsing import (
    card,
    choose,
    chromium,
    drop,
    hold,
    opened,
    paste,
    picture_file,
    seen_pixels,
    shown_pixels,
    take,
    violations,
)
from conftest import MODELS, ROOT, ServerProcess, skip_unless_required
from drawings import DRAWINGS, drawing
from playwright.sync_api import Browser, FileChooser, Page, Request, Route, expect
from playwright.sync_api import TimeoutError as Expired

from cifar_models.bundle import read_manifest

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
MOST_AT_ONCE = 4
SHIP = (ROOT / "docs" / "ship.png").read_bytes()
TEXT = b"This is no picture."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, server: ServerProcess) -> Iterator[Page]:
    with opened(browser, server) as found:
        yield found


@pytest.mark.parametrize("give", [choose, drop, paste, take], ids=lambda give: give.__name__)
def test_every_way_in_shows_what_the_server_says(
    browser: Browser, server: ServerProcess, client: httpx.Client, give: Callable[..., None]
) -> None:
    names = ("harbour.jpg", "pond.png")
    with opened(browser, server, **(PHONE if give is take else {})) as page:
        give(page, *(picture_file(name, drawing(name)) for name in names))
        for name in names:
            shown = card(page, name)
            answer = client.post("/classify", files={"images": drawing(name)}).json()
            (prediction,) = answer["predictions"]
            expect(shown.get_by_role("heading")).to_have_text(prediction["label"])
            assert (shown_pixels(shown) == seen_pixels(drawing(name))).all()
            assert read_bars(page, name) == pytest.approx(prediction["probabilities"], abs=0.001)
            expect(shown.locator("dt")).to_have_text(["decode", "queue", "inference", "in all", "batch of", "by"])
            expect(shown.locator("dd").last).to_have_text(f"{answer['model']['name']} {answer['model']['version']}")


def read_bars(page: Page, name: str) -> dict[str, float]:
    bars = card(page, name).get_by_role("list", name="Probabilities").get_by_role("listitem")
    expect(bars).to_have_count(len(LABELS))
    rows = [row.split("\n") for row in bars.all_inner_texts()]
    return {label: float(share.strip("<>% \u00a0")) / 100 for label, share in rows}


def test_forty_pictures_are_asked_for_a_few_at_a_time(page: Page, client: httpx.Client) -> None:
    images = pictures(40)
    under_way: set[Request] = set()
    most = 0

    def begin(request: Request) -> None:
        nonlocal most
        under_way.add(request)
        most = max(most, sum("classify" in each.url for each in under_way))

    page.on("request", begin)
    page.on("requestfinished", lambda request: under_way.discard(request))
    choose(page, *(picture_file(f"{index}.png", encode(image)) for index, image in enumerate(images)))
    expect(page.get_by_text("40 done", exact=True)).to_be_visible()
    assert 1 <= most <= MOST_AT_ONCE
    expected = [prediction["label"] for prediction in post(client, raw(images)).json()["predictions"]]
    assert page.locator("article h3").all_text_contents() == expected
    expect(page.locator("#said")).to_contain_text("40 pictures done, none failed.")


def test_an_unreadable_file_is_told_and_hinders_no_other(page: Page) -> None:
    drop(page, picture_file("notes.png", TEXT), picture_file("ship.png", SHIP))
    broken = card(page, "notes.png")
    expect(broken.get_by_role("heading")).to_have_text("It cannot be read")
    expect(broken).to_contain_text("The data are no PNG")
    expect(broken.get_by_role("button")).to_have_count(0)  # it would be as unreadable the next time
    expect(card(page, "ship.png").get_by_role("heading")).to_have_text("ship")
    expect(page.get_by_text("2 done, 1 failed")).to_be_visible()


@pytest.mark.parametrize("kind", ["text/plain", "text/uri-list"])
def test_what_is_dropped_and_is_no_file_is_not_taken_and_that_is_said_and_shown(page: Page, kind: str) -> None:
    dragged = page.evaluate_handle(
        "kind => { const data = new DataTransfer(); data.setData(kind, 'http://127.0.0.1/'); return data; }", kind
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": dragged})
    assert page.evaluate("document.body.className") == ""  # it does not look as if it would be taken
    page.dispatch_event("main", "drop", {"dataTransfer": dragged})
    expect(page.locator("#said")).to_have_text("Only files can be dropped here.")
    shown = page.get_by_role("region", name="Show it a picture").get_by_text("Only files can be dropped here.")
    expect(shown).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(0)
    drop(page, picture_file("ship.png", SHIP))  # what is taken then is no matter of that
    expect(shown).to_have_count(0)


def test_the_confidence_is_put_into_words_where_the_bundle_judges_it(page: Page) -> None:
    for confident, words in ((True, "· sure"), (False, "· not sure")):
        change_answers(page, confident=confident)
        choose(page, picture_file(f"{confident}.png", SHIP))
        expect(card(page, f"{confident}.png")).to_contain_text(words)
        page.unroute_all()


def test_of_many_labels_the_best_have_a_bar_each_and_the_others_one(page: Page) -> None:
    shares = {f"class {number}": number / 4950 for number in range(100)}
    change_answers(page, probabilities=shares)
    choose(page, picture_file("ship.png", SHIP))
    bars = card(page, "ship.png").get_by_role("list", name="Probabilities").get_by_role("listitem")
    expect(bars).to_have_count(11)
    expect(bars.first).to_have_text("class 992.0\u00a0%")
    expect(bars.last).to_have_text("90 more80.9\u00a0%")


def change_answers(page: Page, **members: Any) -> None:
    """Put other members into the server's predictions."""

    def fulfill(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        for prediction in content["predictions"]:
            prediction |= members
        route.fulfill(response=response, json=content)

    page.route("**/classify?*", fulfill)


def test_the_bundle_says_what_it_is_and_how_good(page: Page, client: httpx.Client) -> None:
    (served,) = (model for model in client.get("/models").json()["models"] if model["default"])
    bundle = page.get_by_role("region", name="Bundle")
    expect(bundle.get_by_label("Which bundle answers")).to_have_value(DEFAULT)
    manifest = read_manifest(MODELS / DEFAULT)
    (artifact,) = (each for each in manifest.artifacts if each.sha256.startswith(served["version"]))
    accuracy = next(each.accuracy for each in artifact.evaluations if each.split == "test")
    for text in (f"{accuracy:.2%}".replace("%", "\u00a0%"), served["version"], served["engine"], *manifest.labels):
        expect(bundle).to_contain_text(text)
    bundle.get_by_text("How it was made").click()
    expect(bundle.get_by_text(manifest.origin.source_revision[:12])).to_be_visible()


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("curl", ["bash", "-c"]),
        ("Python", [sys.executable, "-c"]),
        ("JavaScript", ["node", "--input-type=module", "-e"]),
    ],
)
def test_the_request_can_be_copied_and_run(page: Page, language: str, program: list[str], tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("radio", name=language, exact=True).check()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#said")).to_have_text("Copied.")
    code = page.evaluate("navigator.clipboard.readText()")
    assert code == page.locator("#code").text_content()
    (tmp_path / "picture.png").write_bytes(SHIP)
    try:
        done = subprocess.run([*program, code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        skip_unless_required(f"needs {program[0]}, to run what the page shows")
    assert (done.returncode, "ship" in done.stdout) == (0, True), done.stderr


def test_it_can_be_used_by_the_keyboard_alone(page: Page) -> None:
    focused = page.locator(":focus")
    page.keyboard.press("Tab")
    expect(focused).to_have_text("To the pictures")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(focused).to_have_id("files")
    open_chooser(page).set_files([picture_file("ship.png", SHIP)])
    expect(page.locator("#said")).to_have_text(re.compile(r"ship\.png: ship, [\d.]+\s%, (not )?sure\."))
    tab_to(page, "#clear")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_have_count(0)
    expect(focused).to_have_id("files")
    tab_to(page, "[name=language]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#code")).to_contain_text("import httpx")


def open_chooser(page: Page) -> FileChooser:
    """By the space bar on the focused button. The driver of a busy browser may miss that it opened: then again."""
    for _ in range(4):
        with suppress(Expired):
            with page.expect_file_chooser(timeout=5000) as chooser:
                page.keyboard.press("Space")
            return chooser.value
    raise AssertionError("the space bar opens no chooser")


def tab_to(page: Page, selector: str) -> None:
    for _ in range(20):
        if page.locator(":focus").and_(page.locator(selector)).count():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is out of reach")


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_nothing_on_it_breaks_a_rule_of_accessibility(
    browser: Browser, server: ServerProcess, options: dict[str, Any]
) -> None:
    with opened(browser, server, **options) as page:
        choose(
            page, *(picture_file(name, drawing(name)) for name in list(DRAWINGS)[:2]), picture_file("notes.txt", TEXT)
        )
        expect(page.get_by_text("3 done, 1 failed")).to_be_visible()
        page.get_by_text("How it was made").click()
        assert violations(page) == []
        for width, language in product((page.evaluate("innerWidth"), 320), ("curl", "Python", "JavaScript")):
            page.set_viewport_size({"width": width, "height": 900})
            page.get_by_role("radio", name=language, exact=True).check()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{language} at {width} sideways"
            )
        page.goto(f"{server.url}/docs")
        assert violations(page) == []


def test_forced_colours_leave_what_is_chosen_and_what_is_held_over_the_page_to_be_seen(
    browser: Browser, server: ServerProcess
) -> None:
    with opened(browser, server, forced_colors="active") as page:
        lines = page.locator("fieldset span").evaluate_all(
            "spans => spans.map((span) => parseFloat(getComputedStyle(span).borderBottomWidth) > 0)"
        )
        assert lines == [True, False, False]
        intake = page.get_by_role("region", name="Show it a picture")
        before = intake.screenshot()
        dragged = hold(page, (picture_file("ship.png", SHIP),))
        page.dispatch_event("main", "dragover", {"dataTransfer": dragged})
        assert intake.screenshot() != before


def test_without_javascript_it_says_so_and_offers_nothing_that_would_not_work(
    browser: Browser, server: ServerProcess
) -> None:
    with opened(browser, server, java_script_enabled=False) as page:
        intake = page.get_by_role("region", name="Show it a picture")
        expect(intake.locator("noscript p")).to_be_visible()
        expect(page.locator("button:visible, .button:visible, select:visible, pre:visible")).to_have_count(0)


def test_what_is_printed_is_the_answers_and_who_gave_them(page: Page) -> None:
    page.route("**/classify?*", lambda route: route.abort(), times=1)
    choose(page, picture_file("failed.png", SHIP))
    expect(card(page, "failed.png").get_by_role("button")).to_be_visible()
    choose(page, picture_file("ship.png", SHIP))
    expect(page.get_by_text("2 done, 1 failed", exact=True)).to_be_visible()
    page.emulate_media(media="print")
    expect(card(page, "ship.png")).to_be_visible()
    expect(page.locator(".figure")).to_be_visible()
    expect(page.locator("button:visible, .button:visible, nav:visible, pre:visible")).to_have_count(0)
    bar = card(page, "ship.png").locator("i").first
    assert bar.evaluate("bar => getComputedStyle(bar).printColorAdjust") == "exact"  # else a browser leaves it out


def test_of_names_that_are_written_from_the_right_the_beginning_is_shown(page: Page) -> None:
    label, name = f"{'سفينة ' * 20}", f"{'صورة ' * 20}.png"
    change_answers(page, probabilities={label: 1.0})
    choose(page, picture_file(name, SHIP))
    for text in (label, name):
        shown = page.get_by_title(text)
        assert shown.evaluate("name => name.scrollWidth > name.clientWidth")  # too long for its place
        assert shown.evaluate("name => getComputedStyle(name).direction") == "rtl"


def test_many_labels_are_counted_and_named_on_demand(page: Page) -> None:
    labels = [f"class {number}" for number in range(100)]
    change_models(
        page, lambda models: [{**model, "manifest": {**model["manifest"], "labels": labels}} for model in models]
    )
    bundle = page.get_by_role("region", name="Bundle")
    row = bundle.locator("div").filter(has=page.get_by_text("Labels", exact=True))
    expect(row.last.get_by_role("definition")).to_have_text("100")
    bundle.get_by_text("How it was made").click()
    expect(bundle.get_by_text("class 98, class 99")).to_be_visible()


def test_a_network_that_comes_back_is_asked_again(page: Page) -> None:
    choose(page, picture_file("before.png", SHIP))
    expect(card(page, "before.png").get_by_role("heading")).to_have_text("ship")
    page.context.set_offline(True)
    choose(page, picture_file("during.png", SHIP))
    expect(card(page, "during.png").get_by_role("heading")).to_have_text("The server does not answer")
    expect(card(page, "before.png").get_by_role("heading")).to_have_text("ship")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again: during.png").click()
    expect(card(page, "during.png")).to_be_focused()
    expect(card(page, "during.png").get_by_role("heading")).to_have_text("ship")
    assert np.array_equal(shown_pixels(card(page, "during.png")), seen_pixels(SHIP))


def test_a_bundle_that_was_replaced_meanwhile_is_shown_as_it_is_now(page: Page) -> None:
    change_models(page, lambda models: [{**model, "version": "0" * 12} for model in models])
    bundle = page.get_by_role("region", name="Bundle")
    expect(bundle).to_contain_text("0" * 12)
    choose(page, picture_file("ship.png", SHIP))
    expect(card(page, "ship.png").get_by_role("heading")).to_have_text("ship")
    expect(bundle).not_to_contain_text("0" * 12)
    expect(bundle).to_contain_text(card(page, "ship.png").locator("dd").last.inner_text().split()[1])


def test_a_bundle_that_is_gone_gives_way_to_the_one_that_answers_now(page: Page) -> None:
    change_models(page, lambda models: [{**models[0], "name": "gone", "default": True}])
    expect(page.get_by_label("Which bundle answers")).to_have_value("gone")
    choose(page, picture_file("ship.png", SHIP))
    expect(card(page, "ship.png")).to_contain_text(f"by{DEFAULT}")
    expect(page.get_by_label("Which bundle answers")).to_have_value(DEFAULT)


def test_where_no_two_replicas_have_the_same_bundle_a_picture_is_asked_again_but_once(page: Page) -> None:
    asked = []
    numbers = count(1)

    def refuse(route: Route) -> None:
        asked.append(parse_qs(urlsplit(route.request.url).query)["model"][0])
        route.fulfill(status=404, json={"error": {"code": "unknown_model", "message": "There is no such model."}})

    page.route("**/classify?*", refuse)
    change_models(page, lambda models: [{**models[0], "name": f"m{next(numbers)}", "default": True}], times=None)
    bundle = page.get_by_label("Which bundle answers")
    expect(bundle).to_have_value("m1")
    for name, last in (("a.png", "m3"), ("b.png", "m5")):
        choose(page, picture_file(name, SHIP))
        expect(card(page, name)).to_contain_text("There is no such model.")
        expect(bundle).to_have_value(last)
    assert asked == ["m1", "m2", "m3", "m4"]


def test_a_server_that_came_back_is_asked_what_it_has_once_it_answers(page: Page) -> None:
    page.route("**/models", lambda route: route.abort(), times=1)
    page.reload()
    bundle = page.get_by_role("region", name="Bundle")
    expect(bundle).to_contain_text("The server does not answer.")
    choose(page, picture_file("ship.png", SHIP))
    expect(card(page, "ship.png").get_by_role("heading")).to_have_text("ship")
    expect(bundle.locator(".figure")).to_be_visible()


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


def test_of_one_picture_that_is_asked_for_its_own_answer_is_said(page: Page) -> None:
    page.route("**/classify?*", lambda route: route.abort(), times=1)
    choose(page, picture_file("old.png", SHIP))
    expect(page.locator("#said")).to_have_text("old.png: The server does not answer.")
    choose(page, picture_file("new.png", SHIP))
    expect(page.locator("#said")).to_have_text(re.compile(r"new\.png: ship, .*"))
    page.get_by_role("button", name="Try again: old.png").click()
    expect(page.locator("#said")).to_have_text(re.compile(r"old\.png: ship, .*"))
    choose(page, picture_file("3.png", SHIP), picture_file("4.png", SHIP))
    expect(page.locator("#said")).to_have_text(
        re.compile(r"4 pictures done, none failed\. The newest is 3\.png: ship, .*")
    )
