"""Which names can be written wherever they are told."""

from unicodedata import category


def is_text(name: str) -> bool:
    """Whether a line, a metric and a file can hold it: it has no control characters, and no bytes that are no UTF-8."""
    return not any(category(character) in ("Cc", "Cs") for character in name)
