"""Which files the pages load, and the headers that they come with. Knows no HTTP."""

from pathlib import Path

_FOLDER = Path(__file__).parent

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
INDEX = _FOLDER / "index.html"
FILES = {f"/page/{file.name}": file for file in _FOLDER.iterdir() if file.suffix in MEDIA_TYPES}  # by path

# A page loads and asks nothing but this server, and runs nothing that stands in its HTML. `blob:` is a picture that its
# user chose. A copy is used only after the server was asked whether it is still the newest.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
