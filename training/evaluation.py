"""What a trained checkpoint gets right and wrong, in numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cifar_models.calibration import Calibration, fit_calibration
from cifar_models.checkpoint import Checkpoint
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.metrics import (
    Floats,
    Reliability,
    accuracy,
    confusion_matrix,
    negative_log_likelihood,
    reliability,
    wilson_interval,
)

_BATCH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Of one set of images, one view each. Probabilities [n, classes] are calibrated."""

    split: str
    images: ImageSet
    raw: Floats  # probabilities as they were, at temperature 1
    probabilities: Floats

    @property
    def right(self) -> Any:
        """Whether each answer is: bool [n]."""
        return self.probabilities.argmax(1) == self.images.labels

    @property
    def accuracy(self) -> float:
        return accuracy(self.probabilities, self.images.labels)

    @property
    def reliability(self) -> Reliability:
        return reliability(self.probabilities, self.images.labels)

    @property
    def confusion(self) -> Any:
        return confusion_matrix(self.probabilities, self.images.labels)

    def report(self) -> dict[str, Any]:
        """All of it as JSON."""
        labels = self.images.labels
        counts = self.confusion
        classes = {name: class_report(counts, index) for index, name in enumerate(self.images.classes)}
        calibrated = {"before": self.raw, "after": self.probabilities}
        return {
            "split": self.split,
            "images": len(self.images),
            "accuracy": self.accuracy,
            "accuracy_interval_95": wilson_interval(self.accuracy, len(labels)),
            "nll": {name: negative_log_likelihood(found, labels) for name, found in calibrated.items()},
            "ece": {name: reliability(found, labels).error for name, found in calibrated.items()},
            "mean_recall": float(np.mean([each["recall"] for each in classes.values()])),
            "classes": classes,
            "confusion": counts.tolist(),
        }

    def most_confidently_wrong(self, count: int) -> list[int]:
        """Indices of the images whose wrong answer is surest, the surest first."""
        confidence = self.probabilities.max(1) * ~self.right
        return [int(index) for index in np.argsort(-confidence)[:count] if confidence[index] > 0]


def class_report(confusion: Any, index: int) -> dict[str, Any]:
    right, images, answers = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
    recall = float(right / max(images, 1))
    return {
        "images": int(images),
        "recall": recall,
        "recall_interval_95": wilson_interval(recall, max(int(images), 1)),
        "precision": float(right / max(answers, 1)),
    }


def describe_repeats(split: str, count: int) -> str:
    stand = "stands" if count == 1 else "stand"
    return (
        f"{count} of the {split} images {stand} among the training images too, pixel for pixel: right answers there "
        "prove nothing."
    )


def evaluate(
    checkpoint: Checkpoint, validation: ImageSet, test: ImageSet, device: torch.device
) -> tuple[Calibration, list[Evaluation]]:
    """The calibration that `validation` asks for, and the evaluations of both sets with it, in full float32."""
    model = checkpoint.classifier().to(device)
    sets = {"validation": validation, "test": test}
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # which training leaves as torch has it: allowed
        logits = {split: predict(model, images, device) for split, images in sets.items()}
    calibration = fit_calibration(logits["validation"], validation.labels)
    evaluations = [
        Evaluation(
            split=split,
            images=images,
            raw=Calibration().probabilities(logits[split]),
            probabilities=calibration.probabilities(logits[split]),
        )
        for split, images in sets.items()
    ]
    return calibration, evaluations


@torch.inference_mode()
def predict(model: Classifier, data: ImageSet, device: torch.device) -> Floats:
    """Logits float32 [n, classes]."""
    parts = torch.split(torch.from_numpy(data.images), _BATCH)
    return torch.cat([model.logits(part.to(device)).cpu() for part in parts]).numpy()
