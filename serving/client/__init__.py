"""The Python client of `POST /classify`: needs httpx and pydantic, and nothing of the server.

with Client("http://127.0.0.1:3000") as client:
    print(client.classify("docs/ship.png").predictions[0].label)
"""

from serving.answers import Answer, FailedModel, Model, Models, Prediction, ServedModel
from serving.client.clients import AsyncClient, Client
from serving.client.errors import BadInput, ClassifyError, Unavailable
from serving.client.images import ImageLike, ImagesLike

__all__ = [
    "Answer",
    "AsyncClient",
    "BadInput",
    "ClassifyError",
    "Client",
    "FailedModel",
    "ImageLike",
    "ImagesLike",
    "Model",
    "Models",
    "Prediction",
    "ServedModel",
    "Unavailable",
]
