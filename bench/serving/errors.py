"""Why a run does not count."""

from cifar_models.errors import InputError


class ServerDied(InputError):
    """A server stopped by itself or never came up; the message ends with its log's last lines."""


class WrongAnswer(InputError):
    """A server answered 200 with something else than the file gives."""
