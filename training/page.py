"""An HTML page in one file: text, tables, charts and pixels, light and dark, with nothing to fetch."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from cifar_models.picture import Pixels
from training.look import properties

_STYLE = f"""
:root {{
color-scheme: light dark;
{properties()}
font: 100%/1.5 var(--sans); color: var(--ink); background: var(--paper);
}}
body {{ max-width: 64rem; margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 1.5rem) 4rem; }}
h1, h2 {{ font-family: var(--serif); font-weight: 600; line-height: 1.15; }}
h1 {{ font-size: clamp(1.75rem, 4vw, 2.25rem); margin: 0 0 1rem; }}
h2 {{ font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 2px solid var(--ink); }}
section {{ display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: start; }}
svg {{ max-width: 100%; height: auto; }}
svg text {{ font-family: var(--sans) !important; }}
.table {{ max-width: 100%; overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .75rem; text-align: right; border-bottom: 1px solid var(--line); }}
td {{ white-space: nowrap; }}
th {{ font-weight: 500; color: var(--soft); }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
figure {{ margin: 0; width: 6rem; font-size: .8125rem; line-height: 1.3; }}
figure img {{ width: 6rem; height: 6rem; image-rendering: pixelated; border-radius: .25rem; }}
p.warning {{ flex-basis: 100%; margin: 0; font-weight: 500; color: var(--unsure); }}
p.note {{ color: var(--soft); margin: 0 0 .75rem; }}
"""


def page(title: str, *parts: str) -> str:
    """A whole document."""
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<main>\n<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</html>\n"
    )


def section(title: str, *parts: str, note: str = "") -> str:
    hint = f'<p class="note">{escape(note)}</p>\n' if note else ""
    return f"<h2>{escape(title)}</h2>\n{hint}<section>\n" + "\n".join(parts) + "\n</section>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    # Wider than a phone, it is moved by itself, by the keyboard too.
    return (
        f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'
    )


def picture(pixels: Pixels, caption: str) -> str:
    """An image uint8 [32, 32, 3] with its caption."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
