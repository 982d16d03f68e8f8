"""GET / in a real browser while the server changes: other bundles, another version, gone and back."""

from itertools import count
from urllib.parse import parse_qs, urlsplit

import numpy as np
from bodies import DEFAULT
from browsing import (
    SHIP,
    card,
    change_models,
    choose,
    picture_file,
    seen_pixels,
    shown_pixels,
)
from playwright.sync_api import Page, Route, expect


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
