"""Pages that hold tables made by a program, between marks."""

from collections.abc import Mapping

from cifar_models.errors import InputError


def fill(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its marks, `<!-- NAME -->` and `<!-- /NAME -->`; what has no part stays.

    Raises InputError when a part has no marks in the page.
    """
    for name, text in parts.items():
        first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, opened, rest = page.partition(first)
        _, closed, after = rest.partition(last)
        if not (opened and closed):
            raise InputError(f"The page has no place {first.strip()} ... {last}; put these two lines there.")
        page = f"{before}{first}{text}\n{last}{after}"
    return page
