"""GET / stays responsive while forty photographs are sent, decoded and answered.

What is measured is the processor's time of the page's main thread in one task, by Chromium's own trace: a task in which
nothing can be clicked or scrolled. It is that of the page alone, however busy the machine is with other things.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import PATIENCE, opened
from conftest import ServerProcess
from PIL import Image
from playwright.sync_api import Browser, Page, expect

PICTURES = 40
SIZE = (2400, 1600)  # pixels of a photograph
HELD_UP = 200  # milliseconds; some ten times what was seen
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
# Resolves once the page says so; an `expect` would look again and again meanwhile, which takes time of the page's own.
SAYS = """([text, patience]) => new Promise((resolve, reject) => {
    const count = document.getElementById("count");
    const look = () => { if (count.textContent === text) resolve(); };
    new MutationObserver(look).observe(count, { childList: true });
    setTimeout(() => reject(new Error(count.textContent)), patience);
    look();
})"""
BUSY = "() => { const end = performance.now() + 2000; while (performance.now() < end); }"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """On disk, as a person's are: the driver would hold the page up with files from memory."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(PICTURES)]
    for path in paths:
        colours = Image.fromarray(generator.integers(0, 256, (12, 18, 3), np.uint8))
        colours.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def longest_task(browser: Browser, page: Page, act: Callable[[], Any]) -> float:
    """Milliseconds of the processor that the page's main thread was held up at most while `act` went on."""
    browser.start_tracing(page=page, categories=TRACED)
    act()
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")  # a task is traced once it has ended
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {(each["pid"], each["tid"]) for each in events if each.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [
        each for each in events if (each["name"], each["ph"]) == ("RunTask", "X") and (each["pid"], each["tid"]) in main
    ]
    return max(float(task.get("tdur", task["dur"])) for task in tasks) / 1000


def test_forty_photographs_never_hold_the_page_up(
    browser: Browser, server: ServerProcess, photographs: list[Path]
) -> None:
    with opened(browser, server) as page:

        def choose_all() -> None:
            page.get_by_label("Choose pictures").set_input_files(photographs)
            page.evaluate(SAYS, [f"{PICTURES} done", PATIENCE])

        assert longest_task(browser, page, choose_all) < HELD_UP
        expect(page.get_by_role("article")).to_have_count(PICTURES)


def test_a_page_that_is_held_up_is_noticed(browser: Browser, server: ServerProcess) -> None:
    with opened(browser, server) as page:
        assert longest_task(browser, page, lambda: page.evaluate(BUSY)) > HELD_UP
