"""What holds for every registered network: its size, its logits, its weights."""

from importlib import import_module

import pytest
import torch
from networks import NETWORKS, biases_before_batch_norm
from torch import Tensor
from torch.nn import functional as F

from cifar_models.registry import ARCHITECTURES, DEFAULT, create_model, find_model, list_models
from cifar_models.resnet import BasicBlock, Bottleneck

PARAMETERS = {  # with 10 classes
    "alexnet": 28_719_434,
    "alexnet_224": 57_044_810,
    "alexnet_bn": 4_510_794,
    "batchnorm_net": 2_169_770,
    "cifarnet_narrow": 2_169_112,
    "lenet": 62_006,
    "lenet_120": 66_722,
    "lenet_grey": 61_706,
    "resnet18": 11_173_962,
    "resnet20": 272_474,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
    "resnet18_imagenet_stem": 11_181_642,
    "resnet34_imagenet_stem": 21_289_802,
    "resnet50_imagenet_stem": 23_528_522,
    "resnet101_imagenet_stem": 42_520_650,
    "resnet152_imagenet_stem": 58_164_298,
    "vgg11": 28_154_944,
}
# The stem is set from the data before the first step; the scales are 1, so that they can be folded.
STEM_AND_SCALES = {"stem.weight", *(f"stages.{number}.bn1.weight" for number in range(3))}
FROZEN = {"cifarnet": STEM_AND_SCALES, "cifarnet_narrow": STEM_AND_SCALES}


def test_the_default_is_registered_and_small() -> None:
    assert count_parameters(DEFAULT) <= 2_500_000


def test_every_other_model_has_a_known_parameter_count() -> None:
    assert set(PARAMETERS) == set(list_models()) - {DEFAULT}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_exact(name: str) -> None:
    assert count_parameters(name) == PARAMETERS[name]


def test_alexnet_224_has_the_published_size_for_imagenet() -> None:
    assert count_parameters("alexnet_224", num_classes=1000) == 61_100_840


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("num_classes", [2, 7, 10])
def test_gives_one_row_of_logits_per_image(name: str, num_classes: int) -> None:
    with torch.device("meta"):  # no data there, so this fails for a forward pass that depends on the data
        logits = create_model(name, num_classes=num_classes)(random_images(name, batch=2))
    assert logits.shape == (2, num_classes)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_in_eval_mode_an_image_has_the_same_logits_every_time_and_in_any_batch(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=10).eval()
    images = random_images(name, batch=2)
    with torch.inference_mode():
        first, again, alone = model(images), model(images), model(images[1:])
    scale = first.abs().max()
    assert torch.isfinite(first).all()
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, again)
    torch.testing.assert_close(alone / scale, first[1:] / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_state_dict_holds_the_whole_model(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=10).eval()
    with torch.device("meta"):
        copy = create_model(name, num_classes=10).eval()
    copy.load_state_dict(model.state_dict(), strict=True, assign=True)
    image = random_images(name, batch=1)
    with torch.inference_mode():
        assert torch.equal(copy(image), model(image))


@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_changes_every_parameter_that_is_not_frozen(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=10).train()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loss = F.cross_entropy(model(random_images(name, batch=4)), torch.arange(4))
    torch.autograd.backward(loss)
    optimizer.step()
    unchanged = {key for key, parameter in model.named_parameters() if torch.equal(parameter, before[key])}
    assert unchanged - biases_before_batch_norm(model) == FROZEN.get(name, set())


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_residual_block_may_halve_the_size_and_keep_the_channels(block: type[BasicBlock | Bottleneck]) -> None:
    channels = 4 * block.expansion
    assert block(channels, 4, stride=2)(torch.zeros(1, channels, 8, 8)).shape == (1, channels, 4, 4)


def test_models_of_one_seed_have_the_same_weights() -> None:
    torch.manual_seed(0)
    first = create_model("lenet_120", num_classes=10).state_dict()
    torch.manual_seed(0)
    second = create_model("lenet_120", num_classes=10).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet18_imagenet_stem", "resnet18"), ("resnet152_imagenet_stem", "resnet152"), ("alexnet_224", "alexnet")],
)
def test_weights_of_torchvision_fit(name: str, published: str) -> None:
    with torch.device("meta"):
        weights = getattr(import_module("torchvision.models"), published)().state_dict()
        create_model(name, num_classes=1000).load_state_dict(weights, strict=True, assign=True)


def test_list_models_is_sorted_and_complete() -> None:
    assert list_models() == sorted(ARCHITECTURES)


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="Unknown model 'transformer'") as caught:
        create_model("transformer", num_classes=10)
    assert all(name in str(caught.value) for name in list_models())


def test_a_misspelt_name_is_answered_with_the_closest_one() -> None:
    with pytest.raises(ValueError, match=r"Unknown model 'ResNet-18'\. Did you mean 'resnet18'\?"):
        find_model("ResNet-18")


@pytest.mark.parametrize("num_classes", [-1, 0, 1])
def test_fewer_than_two_classes_are_refused(num_classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes must be at least 2, got {num_classes}"):
        create_model("lenet", num_classes=num_classes)


def count_parameters(name: str, *, num_classes: int = 10) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in create_model(name, num_classes=num_classes).parameters())


def random_images(name: str, *, batch: int) -> Tensor:
    architecture = find_model(name)
    return torch.randn(batch, architecture.channels, architecture.size, architecture.size)
