"""The model card of a bundle: README.md, made from its manifest (Mitchell et al. 2019, "Model Cards")."""

from pathlib import Path

from cifar_models.bundle import BundleError
from cifar_models.manifest import Artifact, Evaluation, Manifest
from export.commands import commands
from export.figures import accuracy_table, as_markdown, confusion_table, interval, parity_table, selective_table

_USES = {
    "onnx-fp32": "ONNX Runtime, float32; weights stored as float16",
    "onnx-int8": "ONNX Runtime, int8, for processors; the fastest there",
    "torchscript-fp32": "TorchScript, for C++ and Python programs with torch and without this package",
    "torch-export-fp32": "torch.export, what comes after TorchScript",
    "safetensors-fp32": "the weights alone, for `export.safetensors_file.load_safetensors`",
}


def write_card(manifest: Manifest, path: Path) -> None:
    path.write_bytes(render_card(manifest).encode())  # UTF-8, whatever the locale: it is read elsewhere


def render_card(manifest: Manifest) -> str:
    """Markdown; a function of the manifest alone, which is of schema 4 or later."""
    first = manifest.artifacts[0]  # which can be served: see `export.formats`
    test, origin = stated_test(first), manifest.origin
    usual, labels = manifest.usual, len(manifest.labels)
    by_label = stated_test(usual)
    return f"""# {manifest.name}

An image classifier: 32x32 RGB pixels to the probabilities of {labels} labels
({", ".join(manifest.labels)}). Architecture `{manifest.architecture}`, {manifest.parameters:,} parameters.
{test.accuracy:.2%} of {test.images:,} test images right ({interval(test)}, 95 %), one view each, on {test.data}.

## Files

{as_markdown([["file", "for", "bytes"], *(describe_file(artifact) for artifact in manifest.artifacts)])}

Normalisation is in every graph: the input is `images`, uint8 `[batch, 32, 32, 3]`, RGB; the outputs are `logits` and
`probabilities`, float32 `[batch, {labels}]`. Weights are rounded to float16 once, so that all files hold the same
numbers. `manifest.json` has the sha256 of each; `golden.npz` has images and the probabilities that they must give.

## Figures

{as_markdown(accuracy_table(manifest))}

The data are {test.data}. The temperature, {manifest.temperature:.4f}, and the sharpening for a margin of 1 between the
best two logits, {manifest.sharpening:.4f}, were fitted on validation; the test images chose nothing.
ECE: expected calibration error, 15 bins. NLL: negative log likelihood, nats.
{describe_confidence(manifest)}
## Labels

`{usual.file}` on the {by_label.images:,} test images: a row for each label, with the share of its images that
are answered right, and how many of them got which answer.

{as_markdown(confusion_table(by_label, manifest.labels))}

## Agreement

Differences from eager PyTorch, float32, on the CPU; an export that differs by more than its tolerance is not kept.

{as_markdown(parity_table(manifest))}

## Training

Epoch {origin.epoch} of `python -m training.fit` at revision `{origin.source_revision}`,
on {origin.training_images:,} images of {origin.data};
{origin.validation_images:,} were held out, to choose the epoch and the calibration. With the same data in `data/`
(all training images have the fingerprint `{origin.data_fingerprint}`),
these commands make the files again:

```sh
{commands(manifest)}
```

## Limits

It answers with one of its labels whatever the picture shows, and its confidence is honest only for pictures like those
it was measured on: one centred object, 32x32 pixels, sharp. Larger pictures lose what 32x32 pixels cannot show. It
inherits what its data leave out, and must not decide anything about people.

## Use

```sh
curl --form images=@picture.png "http://127.0.0.1:3000/classify?model={manifest.name}&top_k=3"
```

```python
{example(first)}
```
{describe_license(manifest)}"""


def stated_test(artifact: Artifact) -> Evaluation:
    """Raises BundleError when there is none: a card that states no figure would be believed anyhow."""
    found = artifact.evaluation("test")
    if found is None:
        raise BundleError(f"The manifest states no test accuracy of {artifact.file}; export it again.")
    return found


def describe_confidence(manifest: Manifest) -> str:
    """A section, where an artifact has a threshold."""
    found = next((artifact.selective for artifact in manifest.artifacts if artifact.selective), None)
    if found is None:
        return ""
    return f"""
## Confident answers

An answer is `confident` when its probability reaches the file's threshold: the lowest at which, on
validation, at least {found.promise:.0%} of the confident answers are right at the lower 95 % bound (Wilson, one-sided).
The test images chose nothing.

{as_markdown(selective_table(manifest))}
"""


def describe_license(manifest: Manifest) -> str:
    """A last line, where there is one."""
    return f"\nWeights and files: {manifest.declared_license}.\n" if manifest.declared_license else ""


def describe_file(artifact: Artifact) -> list[str]:
    return [f"`{artifact.file}`", _USES[artifact.key], f"{artifact.bytes:,}"]


def example(artifact: Artifact) -> str:
    """How to run a bundle's first file; `pixels` is the reader's."""
    if artifact.format == "onnx":
        return (
            "import onnxruntime\n\n"
            f'session = onnxruntime.InferenceSession("{artifact.file}", providers=["CPUExecutionProvider"])\n'
            '(probabilities,) = session.run(["probabilities"], {"images": pixels})  # uint8 [n, 32, 32, 3]'
        )
    return (
        "import torch\n\n"
        f'model = torch.jit.load("{artifact.file}")\n'
        "logits, probabilities = model(torch.from_numpy(pixels))  # uint8 [n, 32, 32, 3]"
    )
