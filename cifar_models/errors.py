"""The one error that a command shows to the person who runs it, and what the others come to."""

_LONGEST = 200  # characters of a line


class InputError(ValueError):
    """What was given cannot be used. `str(error)` is one line: the value, the rule and the way out."""


def reason(error: BaseException) -> str:
    """What any error says, in one line: where it says more, as TorchScript does, its first and its last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    ends = lines if len(lines) == 1 else [lines[0], lines[-1]]
    return " ... ".join(line[:_LONGEST] for line in ends)
