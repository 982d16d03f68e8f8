"""Requests at the same time share the engine's batches and nothing else."""

import asyncio
from collections.abc import Sequence
from itertools import cycle

import httpx
import numpy as np
from bodies import Body, assert_right, document, encode, form, headers, part, pictures, png, post, raw
from conftest import ServerProcess

from cifar_models.picture import Pixels


def post_together(url: str, bodies: Sequence[Body]) -> list[httpx.Response]:
    """Send all at once, each over its own connection."""

    async def gather() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=len(bodies))
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            return await asyncio.gather(
                *(client.post("/classify", content=body.content, headers=headers(body)) for body in bodies)
            )

    return asyncio.run(gather())


def test_each_of_64_concurrent_requests_gets_the_answer_of_its_own_picture(server: ServerProcess) -> None:
    images = pictures(64)
    for image, response in zip(images, post_together(server.url, [png(image) for image in images]), strict=True):
        assert_right(response, image[None])


def as_levels(images: Pixels) -> Body:
    return document(images.tolist())


def as_files(images: Pixels) -> Body:
    return form(*(part("images", encode(image)) for image in images))


def test_concurrent_requests_of_every_kind_and_size_keep_their_order(server: ServerProcess) -> None:
    groups = np.split(pictures(300), [1, 3, 6, 76, 78, 80, 145, 150, 151])
    bodies = [write(group) for write, group in zip(cycle([raw, as_levels, as_files]), groups, strict=False)]
    for group, response in zip(groups, post_together(server.url, bodies), strict=True):
        assert_right(response, group)


def test_one_connection_carries_many_requests(client: httpx.Client) -> None:
    for image in pictures(20):
        assert_right(post(client, raw(image[None])), image[None])
