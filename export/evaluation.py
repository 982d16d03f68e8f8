"""What probabilities are worth, beside the labels of the images."""

from cifar_models.dataset import ImageSet
from cifar_models.manifest import Evaluation, Split
from cifar_models.metrics import (
    Floats,
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    negative_log_likelihood,
)


def evaluate(probabilities: Floats, images: ImageSet, data: str, split: Split) -> Evaluation:
    """Measure the probabilities [n, classes] that a file gave to labelled images, one view each.

    `data` is the name of the images' data.
    """
    confusion = confusion_matrix(probabilities, images.labels)
    return Evaluation(
        data=data,
        data_fingerprint=images.fingerprint(),
        split=split,
        images=len(images),
        accuracy=accuracy(probabilities, images.labels),
        ece=expected_calibration_error(probabilities, images.labels),
        nll=negative_log_likelihood(probabilities, images.labels),
        class_accuracies=(confusion.diagonal() / confusion.sum(1).clip(min=1)).tolist(),
        confusion=confusion.tolist(),
    )
