"""The relaxation of a space as a supernet with trained weights: one search loop for every differentiable method (DARTS, algorithm 1)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from budgetnas.harness.evaluators.bilevel import WeightStep, frozen, unrolled_gradients
from budgetnas.harness.evaluators.search_checkpoint import SearchCheckpoint
from budgetnas.harness.evaluators.step_history import History
from budgetnas.harness.evaluators.supernet_costs import CannotSearch, Network, SupernetCosts
from budgetnas.harness.evaluators.supernet_inputs import SupernetInputs
from budgetnas.harness.problem import Architecture, Stateful, Step, SupernetOptions
from budgetnas.harness.training.device import compute_device, determinism, peak_memory_bytes, reset_peak_memory, threads
from budgetnas.harness.training.images.batches import Batches, batches
from budgetnas.harness.training.images.splits import halves, subset
from budgetnas.spaces.space import Floats

Batch = tuple[Tensor, Tensor]


class Diverged(ValueError):
    """Raised if the loss becomes NaN or infinite. The message names the step."""


class SupernetRelaxation:
    """The `Relaxation` of a space as a supernet. One half of the training images trains the weights, the other half the alphas.

    The alphas are float32 tensors on the compute device. With `options.edge_weights`, each edge also has a weight, and the strength of an
    operation is softmax(alphas) times the softmax of the edge weights over the edges into the same node (PC-DARTS, equation 4).
    """

    not_modelled: tuple[str, ...] = ()

    def __init__(self, inputs: SupernetInputs, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3):
        self._inputs, self._recipe = inputs, inputs.recipe
        recipe, space = inputs.recipe, inputs.space
        self._options = replace(
            options,
            channels=recipe.channels if options.channels is None else options.channels,
            cells=recipe.cells if options.cells is None else options.cells,
        )
        self.cells = space.searched
        self._device = compute_device(int(inputs.identity.get("seed", 0)))
        weight_seed, order_seed = (int(seed) for seed in rng.integers(0, 2**31, 2))
        shapes = [(len(cell.edges), len(cell.operations)) for cell in self.cells]
        self.alphas = [self._variable(rng.normal(0.0, deviation, shape)) for shape in shapes]
        weighted = shapes if options.edge_weights else []
        self._edge_weights = [self._variable(rng.normal(0.0, deviation, edges)) for edges, _ in weighted]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weight_seed)
            self._supernet = cast(nn.Module, space.supernet(inputs.task, self._options)).to(self._device)
        self._weights = [weight for weight in self._supernet.parameters() if weight.requires_grad]
        chosen = recipe.optimiser
        self._optimiser = torch.optim.SGD(
            self._weights, chosen.learning_rate, chosen.momentum, weight_decay=chosen.weight_decay, nesterov=chosen.nesterov
        )
        weight_part, alpha_part = halves(subset(inputs.dataset.train, recipe.images.train, recipe.images.seed), recipe.images.seed)
        self._training = self._batches(weight_part, order_seed)
        self._validation = self._batches(alpha_part, order_seed + 1)
        self.history = History(recipe.epochs * self._training.steps)
        self._derived: Architecture | None = None
        self._step = Step(0, 1, 0, 1)
        self._batch: Batch | None = None
        self._validation_batch: Batch | None = None
        self._rate = chosen.learning_rate
        self._figures: dict[str, float] = {}
        self._seconds = 0.0
        self._costs = SupernetCosts(
            space, inputs.task, inputs.resources, inputs.table, (self._options.channels, self._options.cells), self._device
        )

    def _variable(self, values: Floats) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device, requires_grad=True)

    def _batches(self, part: Any, seed: int) -> Batches:
        recipe = self._recipe
        # Whole batches only: a supernet normalises with the statistics of the batch, and those of a few images are noise.
        part = part.take(range(max(len(part) // recipe.batch, 1) * recipe.batch)) if len(part) > recipe.batch else part
        return batches(self._inputs.dataset, part, recipe.batch, seed=seed, device=self._device, augmentation=recipe.augmentation)

    # --- variables ------------------------------------------------------------------------------------------------------------------

    def parameters(self) -> list[Tensor]:
        """Return the alphas and, with `options.edge_weights`, the edge weights."""
        return [*self.alphas, *self._edge_weights]

    def strengths(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return softmax(alphas), times the edge's share of its node if edges have weights; shape (edges, operations) for each cell."""
        found = [torch.softmax(rows, dim=1) for rows in (self.alphas if alphas is None else alphas)]
        if not self._edge_weights:
            return found
        shares = [_node_shares(cell.edges, weights) for cell, weights in zip(self.cells, self._edge_weights, strict=True)]
        return [rows * share[:, None] for rows, share in zip(found, shares, strict=True)]

    def discretise(self, alphas: Sequence[Tensor] | None = None) -> Architecture:
        """Return the discrete architecture of the strongest operations, by the rule of the space."""
        return self._inputs.space.strongest(self._arrays(alphas))

    def kept_edges(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return a mask of the edges that the discrete architecture keeps, shape (edges,) for each cell."""
        return [torch.as_tensor(kept, device=self._device) for kept in self._inputs.space.kept_edges(self._arrays(alphas))]

    def derive(self) -> None:
        """Set the derived cells, if `options.derived`, to the present discrete architecture.

        A disconnected architecture is ignored, because the loss would then not depend on any variable until the next call. The previous
        derived cells stay; at first these are the supernet's initial ones.
        """
        arch = self.discretise()
        if self._options.derived and self._inputs.space.connected(arch):
            self._take_derived(arch)

    def _take_derived(self, arch: Architecture) -> None:
        self._derived = arch
        cast(Any, self._supernet).derive(arch)

    def _arrays(self, alphas: Sequence[Tensor] | None) -> list[Floats]:
        with torch.no_grad():
            return [rows.double().cpu().numpy() for rows in self.strengths(alphas)]

    # --- costs ----------------------------------------------------------------------------------------------------------------------

    def expected_cost(self, resource: str, alphas: Sequence[Tensor] | None = None) -> Tensor:
        """Return the expected cost of the evaluation network: see `SupernetCosts.expected`."""
        chosen = self.alphas if alphas is None else alphas
        return self._costs.expected(resource, chosen, lambda: self.kept_edges(chosen))

    def edge_costs(self, resource: str, network: Network = "evaluation") -> list[Tensor]:
        """Return the cost that each operation adds: see `SupernetCosts.edges`."""
        return self._costs.edges(resource, network)

    def fixed_cost(self, resource: str, network: Network = "evaluation") -> float:
        """Return the cost of everything except the searched operations."""
        return self._costs.fixed(resource, network)

    def additive_error(self, resource: str) -> dict[str, float]:
        """Return the error of `edge_costs` and `fixed_cost` against a device's table; empty if they are exact."""
        return self._costs.additive_error(resource)

    # --- the loop -------------------------------------------------------------------------------------------------------------------

    def steps(self, state: Sequence[Stateful], count: int | None = None) -> Iterator[Step]:
        """Yield `count` steps, or those of the recipe. After each, the weights make one step on their half of the images.

        Checkpoints also hold the states of the objects in `state`. Raises `CannotSearch` if `count` is below 1, `Diverged` if a loss is NaN
        or infinite, and `BadCheckpoint` if the checkpoint is damaged or belongs to another search.
        """
        an_epoch = self._training.steps
        total = self._recipe.epochs * an_epoch if count is None else count
        if total < 1:
            raise CannotSearch(
                f"a search cannot have {total} steps; give 1 or more, or leave it out for the recipe's {self._recipe.epochs} epochs"
            )
        epochs = math.ceil(total / an_epoch)
        self.history, kept = History(total), self._checkpoint(total)
        with ExitStack() as stack:
            stack.enter_context(threads(self._recipe.threads))
            stack.enter_context(determinism(self._recipe.deterministic))
            reset_peak_memory(self._device)
            for epoch in range(kept.restore(partial(self._take_up, state, total)), epochs):
                began = time.perf_counter()
                self._rate = self._recipe.rate(epoch, epochs)
                try:
                    yield from self._epoch(epoch, epochs, total)
                finally:  # the seconds of an epoch also count if the search fails within it
                    self._seconds += time.perf_counter() - began
                # No checkpoint after the last epoch: a resumed search needs at least one step to recommend something.
                if epoch + 1 < epochs:
                    kept.save(partial(self._state, state, epoch + 1))

    def _epoch(self, epoch: int, epochs: int, total: int) -> Iterator[Step]:
        validation, an_epoch = self._around(epoch), self._training.steps
        for place, batch in enumerate(self._training.epoch(epoch)):
            self._step = Step(epoch * an_epoch + place, total, epoch, epochs)
            if self._step.index >= total:
                return
            self._batch, self._validation_batch = batch, next(validation)
            yield self._step
            self._descend(self._step)

    def _around(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of the validation half, again and again, because the other half may have more batches."""
        while True:
            yield from self._validation.epoch(epoch)

    def _descend(self, step: Step) -> None:
        """Make one step of the weights, and record the figures of the step."""
        images, labels = self._of_step(self._batch)
        self._optimiser.param_groups[0]["lr"] = self._rate
        self._optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            strengths = self.strengths()
        logits = self._logits(images, strengths)
        loss = cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._recipe.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self._weights, self._recipe.optimiser.clip)
        self._optimiser.step()
        training_loss = loss.item()
        if not math.isfinite(training_loss):
            raise Diverged(
                f"the training loss is {training_loss} at step {step.index + 1} of {step.total}; lower the learning rate of the recipe"
            )
        if self._inputs.watch is not None or self.history.keeps(step.index):
            self._figures |= {
                "training_loss": training_loss,
                "training_accuracy": 100.0 * (logits.argmax(1) == labels).double().mean().item(),
            }
            self._figures |= self._state_figures()
            self.history.add(step.index, self._figures)
            if self._inputs.watch is not None:
                self._inputs.watch(step, self._figures)
        if self.history.keeps_alphas(step.index):
            self.history.add_alphas(step.index, [rows.tolist() for rows in self.alphas])
        self._figures = {}

    def _logits(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        mixed = self._recipe.precision == "bf16" and self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            logits: Tensor = self._supernet(images, strengths)
        return logits.float()

    def backward(self, penalty: Tensor | None = None, unrolled: bool = False) -> float:
        """Add the gradients of the validation loss and of a scalar penalty to `parameters()`, and return the validation loss.

        With `unrolled`, the gradient of the validation loss is of second order. Raises `CannotSearch` outside the loop over `steps`, and
        `Diverged` if the loss is NaN or infinite.
        """
        variables = self.parameters()
        images, labels = self._of_step(self._validation_batch)

        def validation_loss() -> Tensor:
            return cross_entropy(self._logits(images, self.strengths()), labels)

        if unrolled:
            seen, expected = self._of_step(self._batch)
            gradients, loss = unrolled_gradients(
                lambda: cross_entropy(self._logits(seen, self.strengths()), expected),
                validation_loss, self._weights, variables, self._next_step(),
            )  # fmt: skip
        else:
            with frozen(self._weights):
                value = validation_loss()
                # If no path leads through the derived cells, the loss does not depend on any variable.
                found = torch.autograd.grad(value, variables, allow_unused=True) if value.requires_grad else [None] * len(variables)
            gradients = [torch.zeros_like(v) if way is None else way for v, way in zip(variables, found, strict=True)]
            loss = value.item()
        if not math.isfinite(loss):
            place = f"step {self._step.index + 1} of {self._step.total}"
            raise Diverged(f"the validation loss is {loss} at {place}; lower the learning rate of the recipe")
        if penalty is not None and penalty.requires_grad:
            penalty.backward()  # type: ignore[no-untyped-call]
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = gradient if variable.grad is None else variable.grad + gradient
        self._figures["loss"] = loss
        return loss

    def _of_step(self, batch: Batch | None) -> Batch:
        if batch is None:
            raise CannotSearch("the gradient needs the images of a step; call `backward` within `for step in relaxation.steps(...)`")
        return batch

    def _next_step(self) -> WeightStep:
        chosen = self._recipe.optimiser
        velocities = [self._optimiser.state[weight].get("momentum_buffer") for weight in self._weights]
        return WeightStep(self._rate, chosen.momentum, chosen.weight_decay, velocities)

    def note(self, **figures: float) -> None:
        """Add figures of the method to those of this step."""
        self._figures |= figures

    def _state_figures(self) -> dict[str, float]:
        with torch.no_grad():
            p = torch.cat([torch.softmax(rows, dim=1).double().flatten(0) for rows in self.alphas])
            edges = sum(len(cell.edges) for cell in self.cells)
            entropy = -torch.special.xlogy(p, p).sum().item() / edges
            return {"entropy": entropy} | {f"expected_{name}": self.expected_cost(name).item() for name in self._inputs.resources}

    # --- checkpoints ----------------------------------------------------------------------------------------------------------------

    def _checkpoint(self, total: int) -> SearchCheckpoint:
        options = str(sorted(asdict(self._options).items()))
        return SearchCheckpoint(self._inputs.folder, dict(self._inputs.identity) | {"options": options, "steps": total})

    def _state(self, state: Sequence[Stateful], epochs_done: int) -> dict[str, Any]:
        """Return the payload of a checkpoint."""
        return {
            "epochs": epochs_done,
            "weights": self._supernet.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "variables": [variable.detach() for variable in self.parameters()],
            "state": [part.state_dict() for part in state],
            "derived": None if self._derived is None else list(self._derived.genes),
            "history": self.history.rows(),
            "stages": self.history.stages(),
            "seconds": self._seconds,
        }

    def _take_up(self, state: Sequence[Stateful], total: int, found: Mapping[str, Any]) -> None:
        self._supernet.load_state_dict(found["weights"])
        self._optimiser.load_state_dict(found["optimiser"])
        with torch.no_grad():
            for variable, value in zip(self.parameters(), found["variables"], strict=True):
                variable.copy_(value)
        for part, kept in zip(state, found["state"], strict=True):
            part.load_state_dict(kept)
        if found["derived"] is not None:
            self._take_derived(Architecture(self._inputs.space.name, tuple(found["derived"])))
        self.history = History(total, found["history"], found["stages"])
        self._seconds = float(found["seconds"])

    def timing(self) -> dict[str, Any]:
        """Return the timings of the search: its seconds over all sessions, its peak memory in this session [bytes], and the machine."""
        return {
            "search_seconds": self._seconds,
            "search_memory_bytes": peak_memory_bytes(self._device),
            "device": torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu",
            "threads": self._recipe.threads,
            "torch": torch.__version__,
        }


def _node_shares(edges: Sequence[tuple[int, int]], weights: Tensor) -> Tensor:
    """Return the softmax of edge weights over the edges into the same node, shape (edges,)."""
    targets = torch.tensor([target for _, target in edges], device=weights.device)
    shares = torch.empty_like(weights)
    for target in dict.fromkeys(targets.tolist()):
        into = targets == target
        shares = torch.where(into, torch.softmax(weights.masked_fill(~into, -torch.inf), dim=0), shares)
    return shares
