"""Training from scratch: it equals a plain loop, gives the same bits after an interruption, and ends if it diverges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from budgetnas.harness.training.checkpoint import BadCheckpoint
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.images.batches import batches
from budgetnas.harness.training.images.dataset import Dataset, Part, in_memory
from budgetnas.harness.training.progress import Progress, silent
from budgetnas.harness.training.recipes.recipe import Optimiser, Recipe, Schedule
from budgetnas.harness.training.training import Training
from budgetnas.spaces.task import Task

TASK = Task("some", image_size=6, image_channels=1, classes=3)
CPU = torch.device("cpu")
IDENTITY = {"training": "this one"}


class Small(nn.Module):
    """A network with all features that networks of spaces may have: running statistics, an auxiliary head, drop path."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 3)
        self.normalisation = nn.BatchNorm2d(width)
        self.head, self.second_head = nn.Linear(width, 3), nn.Linear(width, 3)
        self.drop_path = 0.0

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.normalisation(self.convolution(images)).relu().mean((2, 3))
        features = dropout(features, self.drop_path, self.training)
        return self.head(features), self.second_head(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.with_auxiliary(images)[0]


def recipe(**changes: Any) -> Recipe:
    values = {
        "name": "test",
        "version": 1,
        "source": "",
        "epochs": 3,
        "batch": 8,
        "optimiser": Optimiser(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3, clip=1.0),
        "schedule": Schedule(kind="cosine", each="step"),
        "auxiliary_weight": 0.4,
        "drop_path": 0.3,
        "label_smoothing": 0.1,
        "augmentation": Augmentation(crop=1, flip=True),
    }
    return Recipe(**{**values, **changes})


def images(count: int, seed: int) -> Part:
    """Return images of classes that differ in brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return Part((rng.integers(0, 80, (count, 1, 6, 6)) + 80 * labels[:, None, None, None]).astype(np.uint8), labels)


def dataset() -> Dataset:
    return in_memory("some", images(36, 0), images(15, 1), 3, validation=images(12, 2))


def network(seed: int = 0) -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small()


def training(net: nn.Module, chosen: Recipe, seed: int = 0, data: Dataset | None = None) -> Training:
    data = data or dataset()
    return Training(net, TASK, data, data.train, data.validation, data.test, chosen, seed, CPU)


@pytest.mark.slow
def test_equal_to_a_plain_loop() -> None:
    chosen = recipe(drop_path=0.0)
    found, expected = network(), network()
    fitted = training(found, chosen).run(None, IDENTITY, silent)
    data = dataset()
    seen = batches(data, data.train, 8, seed=0, device=CPU, augmentation=chosen.augmentation)
    optimiser = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    losses = []
    for epoch in range(3):
        losses.append(0.0)
        for step, (pixels, labels) in enumerate(seen.epoch(epoch)):
            optimiser.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * (epoch + step / 5) / 3))
            optimiser.zero_grad()
            first, second = expected.with_auxiliary(pixels)
            loss = cross_entropy(first, labels, label_smoothing=0.1)
            (loss + 0.4 * cross_entropy(second, labels, label_smoothing=0.1)).backward()
            nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
            optimiser.step()
            losses[-1] += loss.item() * len(labels) / 36
    assert_same_weights(found, expected)
    assert [epoch.loss for epoch in fitted.epochs] == pytest.approx(losses, rel=1e-6)
    expected.eval()
    assert isinstance(data.test, Part)
    normal = (torch.from_numpy(data.test.pixels).float() / 255 - data.mean[0]) / data.deviation[0]
    right = (expected(normal).argmax(1).numpy() == data.test.labels).mean()
    assert fitted.test == pytest.approx(100 * right)
    assert fitted.validation == fitted.epochs[-1].validation
    assert fitted.peak_memory_bytes > 0 and not fitted.diverged


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    for (name, value), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.slow
def test_the_memory_layout_changes_only_rounding() -> None:
    plain, last = (
        training(network(), recipe(channels_last=each, deterministic=each)).run(None, IDENTITY, silent) for each in (False, True)
    )
    assert [epoch.loss for epoch in last.epochs] == pytest.approx([epoch.loss for epoch in plain.epochs], rel=1e-4)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_training_reduces_the_loss_and_classifies_well() -> None:
    plain = recipe(epochs=20, label_smoothing=0.0, auxiliary_weight=0.0, drop_path=0.0)
    fitted = training(network(), plain).run(None, IDENTITY, silent)
    assert fitted.epochs[-1].loss < 0.5 * fitted.epochs[0].loss
    assert fitted.test is not None and fitted.test > 80


class Interrupted(BaseException):
    pass


def interrupting(after: tuple[int, int]) -> Any:
    """Return a progress callback that interrupts after a step of an epoch."""

    def show(progress: Progress) -> None:
        if (progress.epoch, progress.step) == after and progress.ended is None:
            raise Interrupted

    return show


@pytest.mark.parametrize("after", [(0, 2), (1, 1), (2, 4)])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path, after: tuple[int, int]) -> None:
    straight = network()
    expected = training(straight, recipe()).run(None, IDENTITY, silent)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        training(network(), recipe()).run(path, IDENTITY, interrupting(after))
    assert path.exists() == (after[0] > 0)
    torch.manual_seed(99)  # the result does not depend on the global generator
    # With a checkpoint, it does not depend on the initial weights either.
    resumed = network(5 if after[0] else 0)
    again = training(resumed, recipe())
    again.resume(path, IDENTITY)
    assert again.epochs_left == 3 - after[0]
    found = again.run(path, IDENTITY, silent)
    assert_same_weights(resumed, straight)
    assert (found.epochs, found.validation, found.test) == (expected.epochs, expected.validation, expected.test)
    # After all epochs, it returns the same result without training.
    final = training(done := network(5), recipe())
    final.resume(path, IDENTITY)
    assert final.run(path, IDENTITY, silent).test == expected.test
    assert_same_weights(done, straight)


def test_seeds_differ_and_the_global_generator_is_unchanged() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    fitted = [training(network(), recipe(), seed).run(None, IDENTITY, silent) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert fitted[0].epochs == fitted[1].epochs != fitted[2].epochs


def test_an_estimate_does_not_change_the_training(tmp_path: Path) -> None:
    straight, estimated = network(), network()
    training(straight, recipe()).run(None, IDENTITY, silent)
    begun = training(estimated, recipe())
    assert 0 < begun.estimated_seconds() < 60
    begun.run(None, IDENTITY, silent)
    assert_same_weights(straight, estimated)
    assert begun.estimated_seconds() < 10 and begun.steps_left == 0


def test_a_training_that_diverges_ends_with_chance_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    wild = recipe(optimiser=Optimiser(learning_rate=1e30), epochs=5)
    fitted = training(network(), wild).run(path, IDENTITY, silent)
    assert fitted.diverged and len(fitted.epochs) < 5 and not math.isfinite(fitted.epochs[-1].loss)
    assert (fitted.validation, fitted.test) == (pytest.approx(100 / 3), pytest.approx(100 / 3))


def test_divergence_in_the_last_step_is_detected() -> None:
    # One step whose loss is finite, after which the weights are not.
    wild = recipe(optimiser=Optimiser(learning_rate=1e38, weight_decay=1e30), epochs=1, batch=36)
    fitted = training(network(), wild).run(None, IDENTITY, silent)
    assert math.isfinite(fitted.epochs[0].loss) and fitted.diverged and fitted.test == pytest.approx(100 / 3)


def test_a_checkpoint_of_another_network_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    training(network(), recipe()).run(path, IDENTITY, silent)
    kept = path.read_bytes()
    with pytest.raises(BadCheckpoint, match=r"checkpoint.pt is a checkpoint of another network; move or delete it to start again"):
        training(Small(width=5), recipe()).resume(path, IDENTITY)
    with pytest.raises(BadCheckpoint, match="its training is this one, here it is another"):
        training(network(), recipe()).resume(path, {"training": "another"})
    assert path.read_bytes() == kept


def test_progress_is_shown_for_each_step_and_epoch() -> None:
    shown: list[Progress] = []
    training(network(), recipe(judge_each=2)).run(None, IDENTITY, shown.append)
    assert [(each.epoch, each.step) for each in shown if each.ended is None] == [
        (epoch, step) for epoch in range(3) for step in range(1, 5)
    ]
    ended = [each for each in shown if each.ended]
    assert [each.epoch for each in ended] == [1, 2, 3]
    assert [each.ended.validation is None for each in ended if each.ended] == [True, False, False]


def test_the_probability_of_drop_path_rises_from_epoch_to_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = network(), []
    training(net, recipe()).run(None, IDENTITY, lambda progress: seen.append(net.drop_path) if progress.step == 1 else None)
    assert seen == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_it_learns_with_mixed_precision() -> None:
    data = dataset()
    chosen = recipe(epochs=20, precision="bf16", channels_last=True, deterministic=True)
    device = torch.device("cuda")
    fitted = Training(network(), TASK, data, data.train, data.validation, data.test, chosen, 0, device).run(None, IDENTITY, silent)
    assert fitted.epochs[-1].loss < fitted.epochs[0].loss and fitted.peak_memory_bytes > 0
