"""What both clients share: images to requests, and responses to answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from serving.answers import Answer, Model, Models
from serving.client.errors import BadInput, ClassifyError, check_range
from serving.client.images import Source, find_sources
from serving.client.responses import bad_answer, is_too_large_together, read_body

# A quarter of what the server takes by default: so many bytes of photographs hold about as many pixels as it takes, and
# what it refuses has been sent in vain.
_REQUEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """The images of one request."""

    start: int  # index of the first among all that were given
    sources: Sequence[Source]


class Api:
    """The requests to one server, and what its responses mean."""

    def __init__(self, url: str, *, api_key: str | None, batch_size: int) -> None:
        check_range("batch_size", batch_size, 1)
        self._url = parse_url(url)
        if api_key is not None and self._url.userinfo:
            raise BadInput("The address holds a user's name, which would be sent instead of api_key; give one of them.")
        self._headers = {"User-Agent": "cifar-client", "Accept": "application/json", **authorization(api_key)}
        self._batch_size = batch_size

    def cut(self, images: Any) -> list[Batch]:
        """All images in batches, in order. Raises BadInput, before anything is sent."""
        return list(batches(find_sources(images), self._batch_size))

    def classify_request(self, batch: Batch, options: dict[str, Any]) -> httpx.Request:
        """Reads and encodes the batch's pictures; raises BadInput where that fails."""
        params = {name: value for name, value in options.items() if value is not None}
        pixels = [source.pixels for source in batch.sources if source.pixels is not None]
        if len(pixels) == len(batch.sources):
            headers = {**self._headers, "Content-Type": "application/octet-stream"}
            return httpx.Request("POST", self._address("classify", params), headers=headers, content=b"".join(pixels))
        # What each file is stands in the file; its name on this machine is nobody's business.
        files = [("images", (f"{index}", source.encode())) for index, source in enumerate(batch.sources)]
        return httpx.Request("POST", self._address("classify", params), headers=self._headers, files=files)

    def models_request(self) -> httpx.Request:
        return httpx.Request("GET", self._address("models", {}), headers=self._headers)

    def _address(self, name: str, params: dict[str, Any]) -> httpx.URL:
        url = self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{name}")
        return url.copy_merge_params(params) if params else url

    def halve(self, response: httpx.Response, batch: Batch) -> list[Batch]:
        """What to ask instead of a batch that was too large for the server: nothing if it was not, or is one image.

        How many images, bytes and pixels it takes is the operator's choice, and a proxy's.
        """
        middle = len(batch.sources) // 2
        if middle == 0 or not is_too_large_together(response):
            return []
        return [Batch(batch.start, batch.sources[:middle]), Batch(batch.start + middle, batch.sources[middle:])]

    def read_answer(self, response: httpx.Response, batch: Batch) -> Answer:
        """Raises ClassifyError; its index counts all images that were given."""
        try:
            answer = read_body(response, Answer)
        except ClassifyError as error:
            # Of one picture that is too large by itself, neither a proxy nor the limit of bytes says which it is.
            index = 0 if error.status == 413 and len(batch.sources) == 1 else error.index
            if index is not None and 0 <= index < len(batch.sources):
                error.locate(batch.start + index, batch.sources[index].name)
            raise
        found, expected = len(answer.predictions), len(batch.sources)
        if found != expected:
            raise bad_answer(response, f"it holds {found} predictions for {expected} images.")
        return answer

    def read_models(self, response: httpx.Response) -> Models:
        return read_body(response, Models)


def batches(sources: Sequence[Source], batch_size: int) -> Iterator[Batch]:
    start, size = 0, 0
    for end, source in enumerate(sources):
        if end > start and (end - start == batch_size or size + source.size > _REQUEST_BYTES):
            yield Batch(start, sources[start:end])
            start, size = end, 0
        size += source.size
    yield Batch(start, sources[start:])


def join(answers: Sequence[Answer]) -> Answer:
    """The answers to one call's requests as one. Raises ClassifyError when they do not come from one model."""
    models = [answer.model for answer in answers]
    other = next((model for model in models if model != models[0]), None)
    if other is not None:
        raise ClassifyError(
            f"Part of the images was classified by {describe(models[0])}, part by {describe(other)}. "
            "The server was changed meanwhile, or there are several: classify again, or fewer images at a time.",
            code="mixed_models",
        )
    return Answer(model=models[0], predictions=[each for answer in answers for each in answer.predictions])


def describe(model: Model) -> str:
    return f"{model.name} {model.version} ({model.engine})"


def parse_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        escapes = ", and write # ? / in a password as %23 %3F %2F" if "@" in str(text) else ""
        raise BadInput(
            f"{without_password(text)} is no address of a server; give one such as http://127.0.0.1:3000{escapes}."
        )
    if url.port is not None and not 0 < url.port < 65536:
        raise BadInput(f"{without_password(text)} cannot be used; its port must be from 1 to 65535.")
    try:
        url.raw_host.decode().encode("idna")  # as the connection will, whose UnicodeError is none of httpx's
    except UnicodeError:
        raise BadInput(
            f"{without_password(text)} cannot be used; its host must have 1 to 63 characters between its dots."
        ) from None
    return url


def without_password(text: str) -> str:
    """An address as errors repeat it, which end up in logs: what stands before the last @ may be one."""
    _, at, rest = str(text).rpartition("@")
    return repr(f"…@{rest}" if at else text)


def authorization(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    if not api_key.isascii() or not api_key.isprintable() or not api_key or " " in api_key:
        # The key itself is not repeated: errors end up in logs.
        raise BadInput("api_key must be printable ASCII without spaces; of one read from a file, strip the line's end.")
    return {"Authorization": f"Bearer {api_key}"}
