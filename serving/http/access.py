"""Who may ask, and how: an API key, pages of other hosts, TLS. All are off unless a setting turns them on."""

import hashlib
import hmac
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from cifar_models.errors import InputError
from serving.errors import Unauthorized
from serving.page.files import FILES
from serving.settings import Settings

# Whoever watches the process has no key, and learns nothing but whether it lives. The page asks its user for one: a
# browser sends none of its own accord. Its files are the same for everybody and say nothing of this server.
OPEN_PATHS = {"/livez", "/readyz", "/healthz", "/", *FILES}

_SENT_BY_PAGES = ["Authorization", "Content-Type", "X-Request-ID"]
_READ_BY_PAGES = ["Retry-After", "Server-Timing", "WWW-Authenticate", "X-Request-ID"]


def check_certificate(settings: Settings) -> None:
    """Raises InputError when the files that HTTPS needs are named and are no certificate and its key."""
    if settings.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # of which SSLError is one
        files = f"CIFAR_TLS_CERT={settings.tls_cert} and CIFAR_TLS_KEY={settings.tls_key}"
        raise InputError(f"{files} are no certificate and its key, as PEM files: {error}.") from error


def let_pages_ask(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, which pages of these origins may ask, and read its answers and errors."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=_SENT_BY_PAGES,
        expose_headers=_READ_BY_PAGES,
    )


def check_key(headers: Iterable[tuple[bytes, bytes]], digests: Sequence[bytes]) -> None:
    """Raises Unauthorized unless a request's headers name one of the keys, once."""
    values = [value for name, value in headers if name == b"authorization"]
    scheme, _, key = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    given = digest(key.strip())
    # Every key is compared, and digests are of one length: the time tells nothing about any of them.
    matches = [hmac.compare_digest(given, known) for known in digests]
    if scheme.lower() != b"bearer" or not any(matches):
        raise Unauthorized("The request names no valid API key; send it as `Authorization: Bearer KEY`.")


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def load_keys(settings: Settings) -> list[bytes]:
    """Digests of the keys in the settings, none when there are none. Raises InputError, which never holds a key."""
    keys = [] if settings.api_key is None else [read_key(settings.api_key, "CIFAR_API_KEY")]
    if settings.api_key_file is not None:
        keys += read_keys(settings.api_key_file)
    return [digest(key) for key in keys]


def read_keys(path: Path) -> list[bytes]:
    try:
        lines = path.read_text().split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"CIFAR_API_KEY_FILE={path} cannot be read: {type(error).__name__}.") from error
    name = f"A line of CIFAR_API_KEY_FILE={path}"
    keys = [read_key(SecretStr(line.strip()), name) for line in lines if line.strip()]
    if not keys:
        raise InputError(f"CIFAR_API_KEY_FILE={path} holds no key; write one on each line.")
    return keys


def read_key(key: SecretStr, name: str) -> bytes:
    text = key.get_secret_value()
    if not text or not all("!" <= character <= "~" for character in text):
        raise InputError(f"{name} is no API key: use one or more visible ASCII characters and no spaces.")
    return text.encode()
