"""Pictures for docs/ of the page with the shipped bundle: `PYTHONPATH=.:tests python tests/support/screenshots.py`."""

import tempfile
from pathlib import Path
from typing import Any

from browsing import choose, chromium, opened, picture_file
from conftest import ROOT, serving
from drawings import DRAWINGS, drawing
from PIL import Image
from playwright.sync_api import expect

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 960}}
LOOKS: dict[str, tuple[int, dict[str, Any]]] = {  # pictures, and what the browser is
    "light": (4, DESK),
    "dark": (1, {**DESK, "color_scheme": "dark"}),
    "phone": (1, {"viewport": {"width": 390, "height": 1000}, "has_touch": True, "is_mobile": True}),
}
COLOURS = 128  # of a screenshot: a third of the bytes, and no difference to be seen


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "log", shipped=True) as server,
        chromium() as browser,
    ):
        server.wait_until_ready()
        for look, (count, options) in LOOKS.items():
            path = ROOT / "docs" / f"page-{look}.png"
            with opened(browser, server, **options) as page:
                choose(page, *(picture_file(name, drawing(name)) for name in list(DRAWINGS)[:count]))
                expect(page.get_by_text(f"{count} done", exact=True)).to_be_visible()
                page.screenshot(path=path)
            Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
