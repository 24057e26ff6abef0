"""Writes the card beside the table of digits201: what it is, how it was made, and statistics of its columns."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from budgetnas.harness.digits201.latency import RUNS, device_name, processor
from budgetnas.harness.training.recipes.digits201_recipe import Recipe, digits201_recipe
from budgetnas.spaces.nasbench201.small_network import DIGITS201
from budgetnas.spaces.nasbench201.space import NASBench201, connected_mask
from budgetnas.spaces.tables.accuracy import Split, accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Column, Table
from budgetnas.spaces.tables.hardware import cost_column

_PACKAGES = ("torch", "numpy", "scikit-learn", "onnx", "onnxruntime")
_CARD = """# digits201

All NAS-Bench-201 cells, each in a small network trained on the handwritten digits that come with scikit-learn: {rows:,} cells, {classes:,}
classes of identical networks, {seeds} seeds each. Row i is architecture i of NAS-Bench-201. Identical networks share their training
results.

## The network
1x1 convolution to 8 channels, batch normalisation; the cell on 8x8 pixels; 2x2 average pooling, ReLU, 1x1 convolution to 16 channels,
batch normalisation; the cell on 4x4 pixels; batch normalisation, ReLU, global average pooling, linear. No convolution has a bias.
Initial weights have PyTorch's default distributions. They and the order of the images depend only on the lowest index of the class and
on the seed.

## The recipe (version {recipe.version}, sha256 {recipe.checksum})
- Images: {recipe.train} to train, {recipe.validation} to validate, {recipe.test} to test, after one shuffle (seed {recipe.split_seed})
  of scikit-learn's order; pixels are divided by 16.
- {recipe.epochs} epochs of {whole} batches of {recipe.batch} images; an epoch leaves out {rest} random images.
- Stochastic gradient descent, Nesterov momentum {recipe.momentum}, learning rate falling from {recipe.learning_rate} to zero along half a
  cosine over {recipe.steps} steps, weight decay {recipe.weight_decay} on all parameters.
- Accuracy after the last step, with the running statistics of the batch normalisations (momentum {recipe.norm_momentum}).

## How it was made
- Command: `budgetnas data build digits201`
- Machine: {processor}, {system}, Python {python}; {packages}
- Date: {date}
- Time: {hours:.2f} hours of one core, {class_seconds:.2f} s for the {seeds} seeds of a class, including other work on the machine.
- Training seconds are processor time. The {seeds} seeds of a class were trained together on one core; each has an equal share.
- Latency (device `{device}`): the network as an ONNX graph, with folded normalisation and without unused edges; ONNX Runtime, one thread,
  batch 1, median of {runs} runs.
- Parameters and MACs are exact. Cycles are C64x+ cycles as in DEff-ARTS: five per multiply-add, n + 1 per output of pooling over n pixels.
- Trained and measured figures have single precision.
- Checksum of the table (names and contents of its columns): `{checksum}`

## Statistics
| | connected cells | disconnected cells |
|---|---|---|
{statistics}

- Rank correlation (Spearman, connected cells): seed to seed {seed_to_seed}; validation to test {validation_to_test:.3f} (seed means).
- Best by test: cell {best_test}, {best_test_accuracy:.2f} %.
- Best by validation: cell {best_validation}, test accuracy {best_validation_accuracy:.2f} %.
- Standard deviation of test accuracy over seeds, root mean square over connected cells: {deviation:.2f} points.
"""


def card_text(table: Table, results: Mapping[int, Any]) -> str:
    """Return the card as Markdown.

    Args:
        table: the table.
        results: the results of training by representative, with their `wall_seconds`.
    """
    recipe = digits201_recipe()
    wall_seconds = [result["wall_seconds"] for result in results.values()]
    whole, rest = divmod(recipe.train, recipe.batch)
    return _CARD.format(
        rows=table.rows,
        classes=len(results),
        seeds=len(recipe.seeds),
        recipe=recipe,
        whole=whole,
        rest=rest,
        processor=processor(),
        system=platform.system(),
        python=platform.python_version(),
        packages=", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hours=sum(wall_seconds) / 3600,
        class_seconds=float(np.mean(wall_seconds)),
        device=device_name(),
        runs=RUNS,
        checksum=table.checksum,
        statistics=_statistics(table, recipe),
        **_correlations(table, recipe),
    )


def _statistics(table: Table, recipe: Recipe) -> str:
    """Return the rows of a Markdown table with the median and range of the main columns."""
    named = {
        "validation accuracy [%]": accuracy_column(DIGITS201.dataset, "validation", recipe.epochs),
        "test accuracy [%]": accuracy_column(DIGITS201.dataset, "test", recipe.epochs),
        "training [s]": seconds_column(DIGITS201.dataset, recipe.epochs),
        "latency [ms]": cost_column("latency_ms", DIGITS201.dataset, device_name()),
        "parameters": f"params/{DIGITS201.dataset}",
        "MACs": f"macs/{DIGITS201.dataset}",
        "cycles": f"cycles/{DIGITS201.dataset}",
    }
    connected = connected_mask()
    lines = []
    for title, name in named.items():
        column = table.column(name)
        lines.append(f"| {title} | {_spread(column[connected])} | {_spread(column[~connected])} |")
    return "\n".join(lines)


def _spread(values: Column) -> str:
    low, middle, high = np.quantile(values, (0, 0.5, 1)).tolist()
    style = ",.0f" if high >= 1000 else ".3g"
    return f"median {middle:{style}}, {low:{style}} to {high:{style}}"


def _correlations(table: Table, recipe: Recipe) -> dict[str, Any]:
    """Return the figures of the card's last lines."""
    from scipy.stats import spearmanr

    connected = connected_mask()

    def accuracy(split: Split, seed: int | None = None) -> Column:
        return table.column(accuracy_column(DIGITS201.dataset, split, recipe.epochs, seed))

    tests = np.array([accuracy("test", seed) for seed in recipe.seeds])[:, connected]
    pairs = [(first, second) for first in range(len(tests)) for second in range(first)]
    validation, test = (np.where(connected, accuracy(split), -np.inf) for split in ("validation", "test"))
    best_test, best_validation = int(test.argmax()), int(validation.argmax())
    space = NASBench201()
    return {
        "seed_to_seed": ", ".join(f"{spearmanr(tests[first], tests[second]).statistic:.3f}" for first, second in pairs),
        "validation_to_test": float(spearmanr(validation[connected], test[connected]).statistic),
        "best_test": f"{best_test} `{space.encode(space.at(best_test))}`",
        "best_test_accuracy": test[best_test],
        "best_validation": f"{best_validation} `{space.encode(space.at(best_validation))}`",
        "best_validation_accuracy": test[best_validation],
        "deviation": float(np.sqrt(tests.var(axis=0, ddof=1).mean())),
    }
