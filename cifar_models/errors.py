"""The one error that a command shows to the person who runs it."""


class InputError(ValueError):
    """What was given cannot be used. `str(error)` is one line: the value, the rule and the way out."""
