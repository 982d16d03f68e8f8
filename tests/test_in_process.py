"""Callers inside the process get what HTTP would answer, under the same limits."""

import asyncio

import numpy as np
import pytest
from breakable import breakable
from PIL import Image

from serving.errors import Refusal, TooLarge, Unacceptable


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


@pytest.mark.parametrize(
    ("size", "count", "strict", "refusal"),
    [((33, 32), 1, True, Unacceptable), ((50, 40), 1, False, TooLarge), ((32, 32), 4, False, TooLarge)],
)
def test_the_limits_hold(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], count: int, strict: bool, refusal: type[Refusal]
) -> None:
    async def main() -> None:
        async with breakable(monkeypatch, max_images=3, max_pixels=1500) as (server, _):
            with pytest.raises(refusal):
                await server.classify_pictures([Image.new("RGB", size)] * count, strict=strict)

    asyncio.run(main())
