"""GET / in a real browser by keyboard, screen reader, other colours, on paper and without JavaScript."""

import re
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from browsing import (
    PHONE,
    SHIP,
    TEXT,
    card,
    change_answers,
    choose,
    hold,
    opened,
    picture_file,
    violations,
)
from conftest import ServerProcess
from drawings import DRAWINGS, drawing
from playwright.sync_api import Browser, FileChooser, Page, expect
from playwright.sync_api import TimeoutError as Expired


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
