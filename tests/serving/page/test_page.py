"""GET / in a real browser: pictures in, answers out, by every way in."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from bodies import DEFAULT, LABELS, encode, pictures, post, raw
from browsing import (
    PHONE,
    SHIP,
    TEXT,
    card,
    change_answers,
    change_models,
    choose,
    drop,
    opened,
    paste,
    picture_file,
    seen_pixels,
    shown_pixels,
    take,
)
from conftest import MODELS, ServerProcess, skip_unless_required
from drawings import drawing
from playwright.sync_api import Browser, Page, Request, expect

from cifar_models.bundle import read_manifest

MOST_AT_ONCE = 4


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


def test_the_bundle_says_what_it_is_and_how_good(page: Page, client: httpx.Client) -> None:
    (served,) = (model for model in client.get("/models").json()["models"] if model["default"])
    bundle = page.get_by_role("region", name="Bundle")
    expect(bundle.get_by_label("Which bundle answers")).to_have_value(DEFAULT)
    manifest = read_manifest(MODELS / DEFAULT)
    (artifact,) = (each for each in manifest.artifacts if each.sha256.startswith(served["version"]))
    accuracy = next(each.accuracy for each in artifact.evaluations if each.split == "test")
    assert artifact.selective is not None
    assert artifact.selective.test is not None
    sure = f"of {artifact.selective.test.coverage:.1%} of the test images"
    words = [text.replace("%", "\u00a0%") for text in (f"{accuracy:.2%}", sure)]
    for text in (*words, served["version"], served["engine"], *manifest.labels):
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


def test_many_labels_are_counted_and_named_on_demand_and_a_bundle_that_is_never_sure_says_so(page: Page) -> None:
    labels = [f"class {number}" for number in range(100)]

    def change(model: dict[str, Any]) -> dict[str, Any]:
        artifacts = [{**artifact, "selective": None} for artifact in model["manifest"]["artifacts"]]
        return {**model, "manifest": {**model["manifest"], "labels": labels, "artifacts": artifacts}}

    change_models(page, lambda models: list(map(change, models)))
    bundle = page.get_by_role("region", name="Bundle")
    row = bundle.locator("div").filter(has=page.get_by_text("Labels", exact=True))
    expect(row.last.get_by_role("definition")).to_have_text("100")
    expect(bundle).to_contain_text("Surenever: the held-out images do not show")
    bundle.get_by_text("How it was made").click()
    expect(bundle.get_by_text("class 98, class 99")).to_be_visible()
