"""LitServe with its batching: python -m bench.peers.litserve_batched HOST PORT."""

import sys
from typing import cast

import litserve
import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from bench.peers.model import MAX_BATCH, answer, decode, freeze_heap, load_session, run
from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels


class Classifier(litserve.LitAPI):
    """One picture per request, batches across requests."""

    def setup(self, device: str) -> None:
        self.session = load_session()
        freeze_heap()

    def decode_request(self, request: Request) -> Pixels:
        form = cast(FormData, request)  # what LitServe makes of a request whose body is a form
        return decode(cast(UploadFile, form["images"]).file)

    def batch(self, inputs: list[Pixels]) -> Pixels:
        return np.stack(inputs)

    def predict(self, x: Pixels) -> Probabilities:
        return run(self.session, x)

    def unbatch(self, output: Probabilities) -> list[Probabilities]:
        return list(output)

    def encode_response(self, output: Probabilities) -> dict[str, float]:
        return answer(output)


def main() -> None:
    host, port = sys.argv[1:]
    api = Classifier(max_batch_size=MAX_BATCH, batch_timeout=0.002, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", healthcheck_path="/readyz")
    server.run(host=host, port=int(port), log_level="warning", generate_client_file=False, access_log=False)


if __name__ == "__main__":  # its workers import this file again
    main()
