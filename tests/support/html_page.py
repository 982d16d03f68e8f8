"""An HTML page as a test looks at it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page's elements, those left open, and all that its attributes and styles refer to."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        self.close()

    def count(self, tag: str) -> int:
        return self.elements.count(tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self.sources += [part for _, value in attrs for part in urls(value or "")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert "@import" not in data
        self.sources += urls(data)


def urls(style: str) -> list[str]:
    return [part.split(")")[0].strip("'\" ") for part in style.split("url(")[1:]]
