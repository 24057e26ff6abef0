"""Training the seeds of one cell together: as fast as the processor multiplies, and every seed's figures its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from budgetnas.harness.digits201.networks import Networks, initial_values, parameter_shapes
from budgetnas.harness.training.images.digits import Images
from budgetnas.harness.training.recipes.digits201_recipe import Recipe
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.order import all_genes
from budgetnas.spaces.nasbench201.small_network import DIGITS201

_STREAM = 201  # keeps these random numbers apart from those that another use draws from an index and a seed
_EVALUATED_TOGETHER = 128  # images; enough for speed, few enough to stay in the processor's cache


class UnknownSeed(ValueError):
    """A seed that the table does not have; the message lists those it has."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network: accuracy [%] on the validation and the test images, and what its training took [processor seconds]."""

    seed: int
    validation: float
    test: float
    seconds: float


def train_together(index: int, seeds: Sequence[int], recipe: Recipe) -> list[Trained]:
    """Return what the network of cell `index` reaches with each seed, in the order given, trained side by side on one thread.

    Networks that are identical (`identity.py`) are one: it is the class's representative that is trained, and its initial weights and the
    order of its images come from (representative, seed) alone. The same cell and list of seeds give the same bits on machines of a kind;
    in other company, or alone, a seed's sums may be rounded otherwise, since the matrix library goes by how its data lie in memory.
    """
    representative = int(canonical_indices()[index])
    genes = all_genes()[representative].tolist()
    split = recipe.images()
    with _one_thread():
        began = time.thread_time()
        networks, generators = prepared(representative, genes, seeds, recipe)
        for _ in training_losses(networks, generators, split.train, recipe):
            pass
        seconds = (time.thread_time() - began) / len(seeds)
        validation, test = (accuracies(networks, images) for images in (split.validation, split.test))
    return [Trained(*row, seconds) for row in zip(seeds, validation, test, strict=True)]


def train_seed(index: int, seed: int, recipe: Recipe) -> Trained:
    """Return what the network of cell `index` reaches with one of the recipe's seeds, to the bit as the table's builder does.

    To that end all of the recipe's seeds are trained, which takes hardly longer than one. `UnknownSeed` for another.
    """
    if seed not in recipe.seeds:
        raise UnknownSeed(f"{recipe.name} has no seed {seed}; choose one of {', '.join(map(str, recipe.seeds))}")
    return train_together(index, recipe.seeds, recipe)[recipe.seeds.index(seed)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread in this block: sums come out the same every time, and cells are trained in parallel instead."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepared(index: int, genes: Sequence[int], seeds: Sequence[int], recipe: Recipe) -> tuple[Networks, list[np.random.Generator]]:
    """Return the networks with their initial weights, and each one's generator, from which the order of its images is drawn next."""
    generators = [np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, index, seed]))) for seed in seeds]
    shapes = parameter_shapes(genes)
    return Networks(genes, torch.stack([initial_values(shapes, rng) for rng in generators]), recipe), generators


def training_losses(networks: Networks, generators: Sequence[np.random.Generator], images: Images, recipe: Recipe) -> Iterator[Tensor]:
    """Train, yielding every step's cross-entropy (before the step), shape (G,)."""
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    targets = one_hot(labels, DIGITS201.classes).float()
    velocity = torch.zeros_like(networks.values)
    step = 0
    for _ in range(recipe.epochs):
        # Sorting uniform numbers: a shuffle that does not depend on how a library implements its own.
        order = torch.from_numpy(np.stack([np.argsort(rng.random(len(labels)), kind="stable") for rng in generators]))
        for start in range(0, len(labels) - recipe.batch + 1, recipe.batch):
            chosen = order[:, start : start + recipe.batch]
            log_probabilities = networks.forward(pixels[chosen], training=True).log_softmax(2)
            target = targets[chosen]
            networks.backward((log_probabilities.exp() - target) / recipe.batch)
            _descend(networks, velocity, recipe.rate(step), recipe)
            step += 1
            yield -(log_probabilities * target).sum(2).mean(1)


def _descend(networks: Networks, velocity: Tensor, rate: float, recipe: Recipe) -> None:
    """Make one step of stochastic gradient descent with Nesterov's momentum and weight decay, as PyTorch's `SGD` does."""
    gradient = networks.gradients.add_(networks.values, alpha=recipe.weight_decay)
    velocity.mul_(recipe.momentum).add_(gradient)
    networks.values.add_(gradient.add_(velocity, alpha=recipe.momentum), alpha=-rate)


def accuracies(networks: Networks, images: Images) -> list[float]:
    """Return each network's accuracy [%] on some images."""
    labels = torch.from_numpy(images.labels)
    count = len(networks.values)
    right = torch.zeros(count, dtype=torch.int64)
    for pixels, expected in zip(
        *[torch.split(whole, _EVALUATED_TOGETHER) for whole in (torch.from_numpy(images.pixels), labels)], strict=True
    ):
        logits = networks.forward(pixels.expand(count, *pixels.shape))
        right += (logits.argmax(2) == expected).sum(1)
    return [100.0 * hits / len(labels) for hits in right.tolist()]
