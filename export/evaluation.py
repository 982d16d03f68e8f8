"""What a file gets right of labelled images."""

from cifar_models.dataset import ImageSet
from cifar_models.manifest import Evaluation, Split
from cifar_models.metrics import accuracy, confusion_matrix, negative_log_likelihood, reliability
from export.runner import Outputs


def evaluate(outputs: Outputs, images: ImageSet, data: str, split: Split) -> Evaluation:
    """The figures of a file's `outputs` for the images, one view each; `data` is their name."""
    _, probabilities = outputs
    confusion = confusion_matrix(probabilities, images.labels)
    return Evaluation(
        data=data,
        data_fingerprint=images.fingerprint(),
        split=split,
        images=len(images),
        accuracy=accuracy(probabilities, images.labels),
        ece=reliability(probabilities, images.labels).error,
        nll=negative_log_likelihood(probabilities, images.labels),
        class_accuracies=(confusion.diagonal() / confusion.sum(1).clip(min=1)).tolist(),
        confusion=confusion.tolist(),
    )
