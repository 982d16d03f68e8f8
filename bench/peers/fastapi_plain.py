"""FastAPI and ONNX Runtime without batching: uvicorn bench.peers.fastapi_plain:app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, UploadFile

from bench.peers.model import answer, decode, freeze_heap, load_session, run

SESSION = load_session()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    freeze_heap()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
def ready() -> None:
    """Nothing is left to load when this can be asked."""


@app.post("/classify")
def classify(images: UploadFile) -> dict[str, float]:
    """In a thread, as FastAPI's documentation has it for what blocks."""
    return answer(run(SESSION, decode(images.file)[None])[0])
