"""Trains the seeds of one cell together, which is much faster than one after another. The seeds do not affect each other."""

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

_STREAM = 201  # separates these random numbers from other uses of an index and a seed
_EVALUATED_TOGETHER = 128  # images; enough for speed, few enough for the processor's cache


class UnknownSeed(ValueError):
    """A seed that the recipe does not have; the message lists its seeds."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network: accuracy [%] on the validation and the test images, and its training time [processor seconds]."""

    seed: int
    validation: float
    test: float
    seconds: float


def train_together(index: int, seeds: Sequence[int], recipe: Recipe) -> list[Trained]:
    """Return the results of training the network of cell `index`, one per seed, in the order of `seeds`, on one thread.

    Of identical networks (`spaces/nasbench201/identity.py`) only the representative of the class is trained. Its initial weights and the
    order of its images depend on (representative, seed) alone. The same cell and the same list of seeds give the same bits on machines of
    the same kind. With another list, the sums of a seed may be rounded differently, because the matrix library sums by memory layout.
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
    """Return the result of training the network of cell `index` with one seed, with the same bits as the table's builder.

    For the same bits, all seeds of the recipe are trained, which takes hardly longer than one. Raises UnknownSeed if the recipe does not
    have the seed.
    """
    if seed not in recipe.seeds:
        raise UnknownSeed(f"{recipe.name} has no seed {seed}; choose one of {', '.join(map(str, recipe.seeds))}")
    return train_together(index, recipe.seeds, recipe)[recipe.seeds.index(seed)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread in this block. Sums are then always the same; cells are trained in parallel instead."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepared(index: int, genes: Sequence[int], seeds: Sequence[int], recipe: Recipe) -> tuple[Networks, list[np.random.Generator]]:
    """Return the networks with their initial weights, and the generator of each, which then draws the order of its images."""
    generators = [np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, index, seed]))) for seed in seeds]
    shapes = parameter_shapes(genes)
    return Networks(genes, torch.stack([initial_values(shapes, rng) for rng in generators]), recipe), generators


def training_losses(networks: Networks, generators: Sequence[np.random.Generator], images: Images, recipe: Recipe) -> Iterator[Tensor]:
    """Train the networks, and yield the cross-entropy before each step, (G,)."""
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    targets = one_hot(labels, DIGITS201.classes).float()
    velocity = torch.zeros_like(networks.values)
    step = 0
    for _ in range(recipe.epochs):
        # Sorting uniform numbers gives a shuffle that does not depend on a library's implementation.
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
    """Make one step of stochastic gradient descent with Nesterov momentum and weight decay, like PyTorch's `SGD`."""
    gradient = networks.gradients.add_(networks.values, alpha=recipe.weight_decay)
    velocity.mul_(recipe.momentum).add_(gradient)
    networks.values.add_(gradient.add_(velocity, alpha=recipe.momentum), alpha=-rate)


def accuracies(networks: Networks, images: Images) -> list[float]:
    """Return the accuracy [%] of each network on `images`."""
    labels = torch.from_numpy(images.labels)
    count = len(networks.values)
    right = torch.zeros(count, dtype=torch.int64)
    for pixels, expected in zip(
        *[torch.split(whole, _EVALUATED_TOGETHER) for whole in (torch.from_numpy(images.pixels), labels)], strict=True
    ):
        logits = networks.forward(pixels.expand(count, *pixels.shape))
        right += (logits.argmax(2) == expected).sum(1)
    return [100.0 * hits / len(labels) for hits in right.tolist()]
