"""Confident answers: the threshold that validation chooses, and what the server says by it."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from bodies import post, raw
from conftest import MODELS, serving
from damaged import Manifest, copy_bundle, edit_manifest

from cifar_models.metrics import ONE_SIDED, wilson_interval
from cifar_models.selective import PROMISE, choose_threshold, confidences, select
from serving.client import Client

FEWEST = 268  # images that show 99 %, if all of them are answered right


def answers(count: int, seed: int, *, calibrated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 [count, 2] of two classes, and labels: as often right as they say, or by chance."""
    generator = np.random.default_rng(seed)
    top = (1 - 0.5 * generator.random(count) ** 4).astype(np.float32)
    labels = (generator.random(count) >= (top if calibrated else 0.5)).astype(np.int64)
    return np.stack([top, 1 - top], 1), labels


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_lowest_that_keeps_the_promise(seed: int) -> None:
    probabilities, labels = answers(1500, seed, calibrated=True)
    threshold = choose_threshold(probabilities, labels)
    assert threshold is not None

    def bound(threshold: float) -> float:
        found = select(probabilities, labels, threshold)
        return wilson_interval(found.precision, round(found.coverage * len(labels)), ONE_SIDED)[0]

    assert bound(threshold) >= PROMISE
    assert all(bound(lower) < PROMISE for lower in np.unique(confidences(probabilities)) if lower < threshold)
    assert 0 < select(probabilities, labels, threshold).coverage < 1


def test_answers_by_chance_have_none() -> None:
    assert choose_threshold(*answers(1500, 0, calibrated=False)) is None


@pytest.mark.parametrize(("count", "threshold"), [(FEWEST - 1, None), (FEWEST, 0.75)])
def test_few_images_show_nothing(count: int, threshold: float | None) -> None:
    probabilities = np.tile(np.array([0.75, 0.25], np.float32), (count, 1))
    assert choose_threshold(probabilities, np.zeros(count, np.int64)) == threshold


@pytest.fixture(scope="module")
def threshold() -> float:
    """One that half of the golden images reach, as answers state their probability."""
    with np.load(MODELS / "cifarnet" / "golden.npz") as golden:
        return float(np.median(confidences(golden["onnx-int8"])[:31]))


@pytest.fixture(scope="module")
def client(threshold: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a server with two bundles: `cautious` states a threshold of its int8 file, `cifarnet` states none."""
    folder = tmp_path_factory.mktemp("selective")

    def state(manifest: Manifest) -> None:
        selection = {"coverage": 0.5, "precision": 1.0}
        for artifact in manifest["artifacts"]:
            artifact["selective"] = {
                "promise": PROMISE,
                # Of another file than the one that answers: nothing reaches it.
                "threshold": threshold if artifact["precision"] == "int8" else 1.0,
                "validation": selection,
                "test": selection,
            }
        manifest.update(schema_version=4, name="cautious")

    edit_manifest(copy_bundle(MODELS / "cifarnet", folder / "models" / "cautious"), state)
    without = copy_bundle(MODELS / "cifarnet", folder / "models" / "cifarnet")
    edit_manifest(without, lambda manifest: [artifact.pop("selective", None) for artifact in manifest["artifacts"]])
    with serving(folder / "log", bundles=folder / "models", engine="onnxruntime-cpu-int8") as process:
        process.wait_until_ready()
        with httpx.Client(base_url=process.url, timeout=30) as client:
            yield client


def golden_images() -> np.ndarray:
    with np.load(MODELS / "cifarnet" / "golden.npz") as golden:
        images: np.ndarray = golden["images"]
    return images


def test_an_answer_is_confident_where_its_probability_reaches_the_threshold(
    client: httpx.Client, threshold: float
) -> None:
    predictions = post(client, raw(golden_images()), model="cautious").json()["predictions"]
    assert [found["confident"] for found in predictions] == [found["probability"] >= threshold for found in predictions]
    assert {found["confident"] for found in predictions} == {True, False}


def test_a_bundle_without_a_threshold_says_nothing_of_confidence(client: httpx.Client) -> None:
    predictions = post(client, raw(golden_images()), model="cifarnet").json()["predictions"]
    assert all("confident" not in found for found in predictions)


def test_the_client_reads_it(client: httpx.Client, threshold: float) -> None:
    with Client(str(client.base_url)) as asked:
        cautious = asked.classify(golden_images(), model="cautious").predictions
        silent = asked.classify(golden_images()[:1]).predictions
    assert [found.confident for found in cautious] == [found.probability >= threshold for found in cautious]
    assert silent[0].confident is None
