"""The page at `/`, in a real browser."""

from pathlib import Path

import httpx
from bodies import encode, pictures, post, raw
from browser import Page
from conftest import ServerProcess

FILES = "input[type=file]"


def test_it_shows_the_best_labels_of_each_picture_or_why_there_are_none(
    server: ServerProcess, client: httpx.Client, page: Page, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encode(pictures(1)[0]))
    bad.write_bytes(good.read_bytes()[:100])
    page.open(f"{server.url}/")
    page.choose_files(FILES, good, bad)
    page.wait_for("document.querySelectorAll('dt').length === 3")
    page.wait_for("/damaged/.test(document.querySelector('section').innerText)")
    best = post(client, raw(pictures(1)), top_k=3).json()["predictions"][0]["probabilities"]
    assert page.run("[...document.querySelectorAll('dt')].map((label) => label.innerText)") == list(best)
    assert page.run("getComputedStyle(document.querySelector('.key')).display") == "none"  # nobody asked for a key
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
