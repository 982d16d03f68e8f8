"""The running average of the weights (`--ema`): what is validated, kept and exported in their place."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from conftest import command
from small_runs import assert_same, few_images, kill_after_an_epoch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cifar_models.checkpoint import load_checkpoint
from training.average import Average
from training.recipes import RECIPES
from training.trainer import Trainer
from training.world import World

DECAY = 0.75
RECIPE = replace(RECIPES["seed003-batchnorm"], batch_size=10, epochs=2)


def test_the_average_follows_the_weights_by_its_decay_and_is_what_is_kept() -> None:
    trainer = averaging(DECAY)
    expected = trainer.weights()  # of the start
    for _ in trainer.train_epoch():
        for name, value in trainer.model.state_dict().items():
            if value.dtype.is_floating_point:
                expected[name] = expected[name].lerp(value, 1 - DECAY) if trainer.step > 1 else value.clone()
    kept = trainer.weights()
    for name, value in trainer.model.state_dict().items():  # of what is counted there is no average
        torch.testing.assert_close(kept[name], expected[name] if value.dtype.is_floating_point else value, msg=name)
    assert any(not torch.equal(kept[name], value) for name, value in trainer.model.state_dict().items())


def test_an_average_that_torch_began_is_gone_on_with_to_the_bit() -> None:
    """Its state is in the checkpoints of runs of before."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    update = get_ema_multi_avg_fn(DECAY)  # type: ignore[no-untyped-call]
    torchs = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    ours = Average(network, DECAY)
    for step in range(10):
        network(torch.randn(2, 3, 8, 8))  # moves the running statistics
        torchs.update_parameters(network)
        if step < 5:
            ours.load_state_dict(torchs.state_dict())
        else:
            ours.follow(network)
            ours.n_averaged += 1
    expected = {name: value for name, value in torchs.state_dict().items() if "num_batches" not in name}
    assert ours.n_averaged == 10
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in expected.items())


def test_the_average_is_what_is_validated() -> None:
    with_average, without = averaging(DECAY), averaging(0.0)
    for trainer in (with_average, without):
        list(trainer.train_epoch())
        trainer.end_epoch()
    assert with_average.validate() != without.validate()
    without.model.load_state_dict(with_average.weights())
    assert with_average.validate() == without.validate()


def test_a_killed_run_goes_on_with_its_average(tiny_data: Path, tmp_path: Path) -> None:
    options = ("--model", "lenet", "--epochs", "6", "--batch-size", "20", "--validation", "0.2", "--ema", "0.9")
    line = (*options, "--device", "cpu", "--data", tiny_data, "--out")
    command("training.fit", *line, tmp_path / "whole")
    kill_after_an_epoch(*line, tmp_path / "killed")
    folder = shutil.copytree(tmp_path / "killed", tmp_path / "resumed")
    command("training.fit", *line, folder, "--resume")
    assert_same(load_checkpoint(folder / "last.pt"), load_checkpoint(tmp_path / "whole" / "last.pt"))


def averaging(decay: float) -> Trainer:
    data = few_images(4, seed=1)
    return Trainer(replace(RECIPE, ema=decay), data, few_images(2, seed=2), torch.device("cpu"), World())
