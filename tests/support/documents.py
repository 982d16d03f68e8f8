"""README.md and docs/ as their reader sees them: blocks of code, code within the text, links, headings."""

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r" *```(.*)")


class Block(NamedTuple):
    """What stands between two fences."""

    document: Path
    line: int
    language: str
    code: str
    section: str  # the heading above it

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def read_blocks(document: Path) -> list[Block]:
    """Every block of a document, whatever its language."""
    blocks: list[Block] = []
    section, opened, language = "", 0, ""
    lines = document.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.fullmatch(line)
        if fence and opened:
            blocks.append(Block(document, opened, language, "\n".join(lines[opened : number - 1]) + "\n", section))
            opened = 0
        elif fence:
            opened, language = number, fence[1].strip()
        elif not opened and line.startswith("#"):
            section = line.lstrip("# ")
    assert not opened, f"{document}:{opened} opens a block that does not end"
    return blocks


BLOCKS = [block for document in DOCUMENTS for block in read_blocks(document)]


def follows(before: Block, after: Block) -> bool:
    """Whether it stands right below."""
    return before.document == after.document and after.line == before.line + before.code.count("\n") + 2


# What is shown right below a command as coming of it.
ANSWERS = {
    before: after
    for before, after in pairwise(BLOCKS)
    if before.language == "sh" and after.language in ("json", "text") and follows(before, after)
}


def prose(document: Path) -> str:
    """The text of a document without its blocks."""
    kept, inside = [], False
    for line in document.read_text().splitlines():
        fence = _FENCE.fullmatch(line)
        if not fence and not inside:
            kept.append(line)
        inside ^= bool(fence)
    return "\n".join(kept)


def spans(document: Path) -> set[str]:
    """What is written as code within the text."""
    return {" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(document))}


def links(document: Path) -> set[str]:
    """Where links and pictures of the text point at."""
    text = re.sub(r"`[^`]*`", "", prose(document))
    return set(re.findall(r"\]\(([^()\s]+)\)", text)) | set(re.findall(r"(?:href|src(?:set)?)=\"([^\"]+)\"", text))


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to the headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)
