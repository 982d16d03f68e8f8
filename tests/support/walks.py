"""Documents that can be followed from top to bottom, and following one: its reader does only what it says."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT
from documents import ANSWERS, BLOCKS, Block
from examples import COMMANDS, check_answer, check_listing
from workshop import Workshop, starts_server

_SHOWN = set(ANSWERS.values())


class Walk(NamedTuple):
    """A document, or one section of it."""

    document: str
    section: str | None = None

    @property
    def blocks(self) -> list[Block]:
        path = ROOT / self.document
        return [block for block in BLOCKS if block.document == path and self.section in (None, block.section)]

    def __str__(self) -> str:
        return f"{self.document} {self.section or ''}".strip().replace(" ", "-")


OWN_CLASSES = Walk("docs/your-own-classes.md")
WALKS = [
    Walk("docs/quickstart.md"),
    Walk("docs/operations.md", "Upgrade and rollback of a bundle"),
    Walk("docs/security.md", "API keys"),
]
WALKED = {block for walk in (OWN_CLASSES, *WALKS) for block in walk.blocks}


def follow(walk: Walk, folder: Path, data: Path) -> None:
    """Do all of it in `folder`. Fails when a command does, or comes to something else than what is shown."""
    assert walk.blocks
    workshop = Workshop(folder, data)
    with ExitStack() as server:
        for block in walk.blocks:
            if starts_server(block):
                server.close()  # one port, one server
                server.enter_context(workshop.serving(block))
            elif block.language in COMMANDS:
                written = workshop.follow(block)
                if block in ANSWERS:
                    check_answer(written, ANSWERS[block], workshop.folder / "models")
            else:
                assert block in _SHOWN or block.language == "text", f"{block}: nobody can follow {block.language!r}"
    for block in walk.blocks:
        if block.language == "text" and block not in _SHOWN:
            check_listing(block, workshop.folder)
