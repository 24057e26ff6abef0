"""Trains one network from scratch by a recipe. A training that is resumed from a checkpoint gives the same bits as an uninterrupted one."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from budgetnas.harness.training import checkpoint
from budgetnas.harness.training.device import peak_memory_bytes, reset_peak_memory
from budgetnas.harness.training.images.batches import Batches, batches, in_order
from budgetnas.harness.training.images.dataset import AnyPart, Dataset
from budgetnas.harness.training.images.order import torch_seed
from budgetnas.harness.training.progress import Epoch, Progress, Show
from budgetnas.harness.training.recipes.recipe import Recipe
from budgetnas.spaces.space import Architecture, Buildable
from budgetnas.spaces.task import Task

_STREAM = 13  # separates these random numbers from other uses of a seed
_LOOK_EACH = 100  # steps between two checks that the loss is finite; a check makes a GPU wait
_TIMED_STEPS = 3


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of training one network.

    Attributes:
        validation: accuracy [%] on the validation images after the last epoch, None without such images. Chance if it diverged.
        test: accuracy [%] on the test images, likewise.
        epochs: the figures of each epoch.
        seconds: wall-clock time, without interruptions.
        peak_memory_bytes: largest memory in use, see `device.peak_memory_bytes`.
        diverged: whether the loss or a weight became infinite or NaN.
    """

    validation: float | None
    test: float | None
    epochs: tuple[Epoch, ...]
    seconds: float
    peak_memory_bytes: int
    diverged: bool


def initial_network(space: Buildable, arch: Architecture, task: Task, recipe: Recipe, seed: int) -> nn.Module:
    """Return the network with initial weights that depend on `seed` alone. The state of the global generator is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(_STREAM, seed))
        return space.network(arch, task, auxiliary=recipe.auxiliary_weight > 0)


class Training:
    """The state of a training: a network, its images, its optimiser and its progress."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        dataset: Dataset,
        train: AnyPart,
        validation: AnyPart | None,
        test: AnyPart | None,
        recipe: Recipe,
        seed: int,
        device: torch.device,
    ):
        self._recipe, self._seed, self._device, self._task = recipe, seed, device, task
        self._layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self._network = network.to(device=device, memory_format=self._layout)  # type: ignore[call-overload] # torch's stubs lack it
        augmentation = recipe.augmentation_on(task.dataset)
        self._train = batches(dataset, train, recipe.batch, seed=seed, device=device, augmentation=augmentation)
        self._validation = None if validation is None else in_order(dataset, validation, device)
        self._test = None if test is None else in_order(dataset, test, device)
        self._images = len(train)
        chosen = recipe.optimiser
        self._optimiser = torch.optim.SGD(
            network.parameters(),
            lr=chosen.learning_rate,
            momentum=chosen.momentum,
            nesterov=chosen.nesterov,
            weight_decay=chosen.weight_decay,
        )
        self._epochs: list[Epoch] = []
        self._seconds = 0.0
        self._peak = 0

    @property
    def epochs_left(self) -> int:
        """The number of epochs still to train."""
        return self._recipe.epochs - len(self._epochs)

    @property
    def steps_left(self) -> int:
        """The number of steps still to make."""
        return self.epochs_left * self._train.steps

    def resume(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, if there is one. Raises BadCheckpoint if it is damaged or belongs to another training."""
        payload = checkpoint.load(path, identity)
        if payload is None:
            return
        try:
            self._network.load_state_dict(payload["network"])
            self._optimiser.load_state_dict(payload["optimiser"])
            self._epochs = [Epoch(**epoch) for epoch in payload["epochs"]]
            self._seconds, self._peak = float(payload["seconds"]), int(payload["peak_memory_bytes"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise checkpoint.BadCheckpoint(f"{path} is a checkpoint of another network; move or delete it to start again") from None

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write a checkpoint after a finished epoch."""
        payload = {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "epochs": [asdict(epoch) for epoch in self._epochs],
            "seconds": self._seconds,
            "peak_memory_bytes": self._peak,
        }
        checkpoint.save(path, identity, payload)

    def estimated_seconds(self) -> float:
        """Return an estimate of the seconds left. It times a few steps of a copy, and does not change the training."""
        kept = self._network, self._optimiser
        self._network = copy.deepcopy(self._network)
        self._optimiser = torch.optim.SGD(self._network.parameters(), lr=0.0, momentum=0.9)
        try:
            with self._seeded(0):
                step, images = self._timed(self._train, lambda pixels, labels: self._step(pixels, labels))
                self._network.eval()
                judged, of_images = self._timed(self._validation or self._test or self._train, self._hits)
        finally:
            self._network, self._optimiser = kept
        judgements = math.ceil(self.epochs_left / self._recipe.judge_each) if self._validation else 0
        seconds = self.epochs_left * self._images * step / images
        for part, times in ((self._validation, judgements), (self._test, 1)):
            seconds += 0.0 if part is None else times * part.images * judged / of_images
        return seconds

    def run(self, path: Path | None, identity: Mapping[str, Any], show: Show) -> Fitted:
        """Train the epochs that are left and return the result.

        Args:
            path: the checkpoint to write after each epoch; None: no checkpoint.
            identity: the identity of the checkpoint.
            show: called with the progress after each step and epoch.
        """
        reset_peak_memory(self._device)
        diverged = False
        while self.epochs_left and not diverged:
            began = time.perf_counter()
            number = len(self._epochs)
            with self._seeded(number):
                loss, accuracy, diverged = self._epoch(number, show)
            last = number + 1 == self._recipe.epochs
            judge = self._validation is not None and not diverged and (last or (number + 1) % self._recipe.judge_each == 0)
            validation = self._accuracy(self._validation) if judge and self._validation else None
            self._epochs.append(Epoch(loss, accuracy, validation))
            self._seconds += time.perf_counter() - began
            self._peak = max(self._peak, peak_memory_bytes(self._device))
            if path is not None and not diverged:
                self.save(path, identity)
            show(Progress(number + 1, self._recipe.epochs, self._train.steps, self._train.steps, self._epochs[-1]))
        return self._result(diverged)

    def _result(self, diverged: bool) -> Fitted:
        chance = self._task.chance
        began = time.perf_counter()
        # The last step may have diverged, and no loss was computed after it.
        diverged = diverged or not all(bool(weights.isfinite().all()) for weights in self._network.parameters())
        if diverged:
            validation, test = (None if part is None else chance for part in (self._validation, self._test))
        else:
            validation = self._epochs[-1].validation
            test = None if self._test is None else self._accuracy(self._test)
        seconds = self._seconds + time.perf_counter() - began
        return Fitted(validation, test, tuple(self._epochs), seconds, self._peak, diverged)

    @contextmanager
    def _seeded(self, epoch: int) -> Iterator[None]:
        """Seed torch's global generator in this block, so that dropped paths, for example, depend on (seed, epoch) alone."""
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(torch_seed(_STREAM, self._seed, epoch))
            yield

    def _epoch(self, number: int, show: Show) -> tuple[float, float, bool]:
        """Train one epoch; return the mean loss of the main head, the training accuracy [%], and whether the training diverged."""
        self._network.train()
        if hasattr(self._network, "drop_path"):
            self._network.drop_path = self._recipe.path_drop(number)
        steps = self._train.steps
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        hits = torch.zeros((), device=self._device, dtype=torch.int64)
        images = 0
        for step, (pixels, labels) in enumerate(self._train.epoch(number)):
            for group in self._optimiser.param_groups:
                group["lr"] = self._recipe.rate(number, step, steps)
            loss, right = self._step(pixels, labels)
            loss_sum += loss * len(labels)
            hits += right
            images += len(labels)
            if (step + 1) % _LOOK_EACH == 0 and not math.isfinite(loss_sum.item()):
                break
            if step + 1 < steps:
                show(Progress(number, self._recipe.epochs, step + 1, steps, None))
        loss_mean = loss_sum.item() / images
        return loss_mean, 100.0 * int(hits.item()) / images, not math.isfinite(loss_mean)

    def _step(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Make one training step; return the loss of the main head before it, and the number of correctly classified images."""
        self._optimiser.zero_grad(set_to_none=True)
        smoothing = self._recipe.label_smoothing
        logits, auxiliary = self._logits(pixels)
        loss = cross_entropy(logits, labels, label_smoothing=smoothing)
        whole = loss
        if auxiliary is not None:
            whole = loss + self._recipe.auxiliary_weight * cross_entropy(auxiliary, labels, label_smoothing=smoothing)
        whole.backward()  # type: ignore[no-untyped-call]
        if self._recipe.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.optimiser.clip)
        self._optimiser.step()
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()

    def _logits(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        pixels = pixels.contiguous(memory_format=self._layout)
        mixed = self._recipe.precision == "bf16" and self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            if self._network.training and self._recipe.auxiliary_weight and hasattr(self._network, "with_auxiliary"):
                logits, auxiliary = self._network.with_auxiliary(pixels)
                return logits.float(), auxiliary.float()
            return self._network(pixels).float(), None

    @torch.no_grad()
    def _hits(self, pixels: Tensor, labels: Tensor) -> Tensor:
        return (self._logits(pixels)[0].argmax(1) == labels).sum()

    def _accuracy(self, part: Batches) -> float:
        """Return the accuracy [%] of the network on a part."""
        self._network.eval()
        hits = torch.stack([self._hits(pixels, labels) for pixels, labels in part.epoch(0)]).sum()
        return 100.0 * int(hits.item()) / part.images

    def _timed(self, part: Batches, work: Callable[[Tensor, Tensor], Any]) -> tuple[float, int]:
        """Return the seconds in which a few batches are fetched and processed, and their number of images. The first is a warm-up."""
        seconds, images = 0.0, 0
        began = time.perf_counter()
        for number, (pixels, labels) in enumerate(part.epoch(0)):
            work(pixels, labels)
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            now = time.perf_counter()
            if number > 0 or part.steps == 1:
                seconds, images = seconds + now - began, images + len(labels)
            began = now
            if number == _TIMED_STEPS:
                break
        return seconds, images
