"""Callers inside the process get what HTTP would answer, under the same limits."""

import asyncio
import io
import os
import signal
from base64 import b64encode

import numpy as np
import pytest
from breakable import breakable
from PIL import Image

from cifar_models.picture import to_pixels
from serving.errors import DeadlinePassed, Refusal, TooLarge, Unacceptable, UnknownModel, Unreadable
from serving.http.drain import drain_on_sigterm


def test_pictures_are_classified_and_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, _):
            picture = Image.fromarray(np.zeros((40, 50, 3), np.uint8))
            first, second = [await server.classify_pictures([picture] * 2, top_k=3) for _ in range(2)]
            assert first == second
            assert [len(prediction["probabilities"]) for prediction in first["predictions"]] == [3, 3]
            assert picture.size == (50, 40)
            picture.load()

    asyncio.run(main())


def test_a_picture_with_a_transparent_colour_is_seen_as_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32), 100, np.uint8)).save(file, "PNG", transparency=100)

    async def main() -> None:
        async with breakable(monkeypatch) as (server, _):
            with Image.open(file) as picture:
                answer = await server.classify_pictures([picture], pixels=True)
            seen = to_pixels(Image.open(file))
            assert answer["predictions"][0]["pixels"] == b64encode(seen.tobytes()).decode()

    asyncio.run(main())


def test_a_damaged_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")

    async def main() -> None:
        async with breakable(monkeypatch) as (server, _):
            with Image.open(io.BytesIO(file.getvalue()[:1000])) as picture:
                with pytest.raises(UnknownModel):  # which nothing in the picture can change
                    await server.classify_pictures([picture], model="nope")
                with pytest.raises(Unreadable):
                    await server.classify_pictures([picture])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("size", "count", "strict", "refusal"),
    [
        ((33, 32), 1, True, Unacceptable),
        ((50, 40), 1, False, TooLarge),
        ((32, 32), 2, False, TooLarge),  # of pixels together
        ((1, 1), 4, False, TooLarge),
    ],
)
def test_the_limits_hold(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], count: int, strict: bool, refusal: type[Refusal]
) -> None:
    async def main() -> None:
        async with breakable(monkeypatch, max_images=3, max_pixels=1500) as (server, _):
            with pytest.raises(refusal):
                await server.classify_pictures([Image.new("RGB", size)] * count, strict=strict)

    asyncio.run(main())


def test_pictures_are_looked_at_until_the_deadline_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch, timeout=0.001) as (server, _):
            picture = Image.new("RGB", (2000, 2000))  # to shrink it takes longer
            with pytest.raises(DeadlinePassed, match="could not be decoded"):
                await server.classify_pictures([picture] * 3)

    asyncio.run(main())


def test_a_program_of_another_purpose_is_not_ended_for_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: killed.append(number))

    async def main() -> None:
        async with breakable(monkeypatch) as (server, _):
            drain_on_sigterm(server, alone=True)  # as `service.py` does, also where it is no worker
            server._serving[server.settings.model].health._give_up()

    before = signal.signal(signal.SIGTERM, lambda *_: None)  # a handler of its own
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert killed == []
    assert signal.alarm(0) == 0
