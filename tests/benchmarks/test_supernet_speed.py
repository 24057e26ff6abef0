"""The speed of search networks compared with the textbook's, the gain of each part, and the growth of time and memory.

    pytest tests/benchmarks/test_supernet_speed.py --benchmark-enable -s

A time is that of one search step: forward pass, backward pass, SGD. It is the processor time of the process, because other work on the
machine would lengthen the wall time. The variants run in turn, and the lowest of several times counts. No test here fails because it is
slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

torch = pytest.importorskip("torch", reason="torch is not installed")

import darts_textbook  # noqa: E402
import nasbench201_textbook  # noqa: E402
from comparison import saved_bytes  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from budgetnas.spaces.darts.space import DARTS  # noqa: E402
from budgetnas.spaces.nasbench201 import NASBench201  # noqa: E402
from budgetnas.spaces.space import Relaxable, SupernetOptions  # noqa: E402
from budgetnas.spaces.supernets import arithmetic  # noqa: E402
from budgetnas.spaces.task import Task, task_of  # noqa: E402

CIFAR = task_of("cifar10")
BATCH = 16
Step = Callable[[], None]


@pytest.fixture(autouse=True)
def one_thread(benchmark: BenchmarkFixture) -> Iterator[None]:
    """Use one thread, as in a study with one worker per processor. Skips the test unless benchmarks are enabled."""
    if not benchmark.enabled:
        pytest.skip("takes a minute and prints; `make benchmark` runs it")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Search:
    """A search network with everything that a step needs."""

    def __init__(self, network: nn.Module, space: Relaxable, batch: int = BATCH, task: Task = CIFAR, last: bool = True):
        torch.manual_seed(0)
        # Without `last`, images have PyTorch's default memory format: channels before pixels.
        images = torch.randn(batch, task.image_channels, task.image_size, task.image_size)
        self._images = images.contiguous(memory_format=torch.channels_last) if last else images
        self._labels = torch.randint(0, task.classes, (batch,))
        self._network = network
        self._alphas = [torch.zeros(len(cell.edges), len(cell.operations), requires_grad=True) for cell in space.searched]
        self._optimiser = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9)

    def loss(self) -> Tensor:
        return functional.cross_entropy(self._network(self._images, [alphas.softmax(1) for alphas in self._alphas]), self._labels)

    def step(self) -> None:
        self._optimiser.zero_grad()
        self.loss().backward()
        self._optimiser.step()

    def mebibytes(self) -> float:
        return saved_bytes(self.loss) / 2**20


def seconds(steps: Mapping[str, Step], rounds: int = 2) -> dict[str, float]:
    """Return the lowest processor seconds of each step, after a first round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            found[name].append(time.process_time() - began)
    return {name: min(times[1:]) for name, times in found.items()}


@dataclass(frozen=True)
class Variant:
    """A search network and a context in which all its computations run."""

    search: Search
    around: Callable[[], AbstractContextManager[object]] = nullcontext

    def step(self) -> None:
        with self.around():
            self.search.step()

    def mebibytes(self) -> float:
        with self.around():
            return self.search.mebibytes()


def table(title: str, variants: Mapping[str, Variant]) -> dict[str, float]:
    """Print seconds, mebibytes and the speed-up over the first variant for each; return the seconds."""
    found = seconds({name: variant.step for name, variant in variants.items()})
    first = next(iter(found.values()))
    print(f"\n{title}\n{'':52}{'s/step':>9}{'speed-up':>10}{'MiB saved':>10}")
    for name, variant in variants.items():
        print(f"{name:52}{found[name]:9.3f}{first / found[name]:10.2f}{variant.mebibytes():10.0f}")
    return found


@contextmanager
def replaced(**functions: object) -> Iterator[None]:
    """Replace functions of the layout `edges` by PyTorch's own."""
    own = {name: getattr(arithmetic, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(arithmetic, name, function)
        yield
    finally:
        for name, function in own.items():
            setattr(arithmetic, name, function)


def plain_depthwise(x: Tensor, kernels: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    return functional.conv2d(x, kernels, None, stride, dilation * (kernels.shape[-1] // 2), dilation, len(kernels))


def plain_mixture(
    maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor | None], strengths: Tensor
) -> Tensor:
    """Return the weighted sum term by term, with the strength as the scale of the last normalisation."""
    terms = [each * strength for each, strength in zip(maps, map_strengths, strict=True)]
    for x, weight, strength in zip(inputs, weights, strengths, strict=True):
        convolved = x if weight is None else functional.conv2d(x, weight[..., None, None])
        terms.append(functional.batch_norm(convolved, None, None, strength.expand(convolved.shape[1]), None, training=True))
    total: Tensor = sum(terms[1:], terms[0])
    return total


bfloat16 = partial(torch.autocast, "cpu", torch.bfloat16)


def test_a_step_of_darts_and_the_gain_of_each_part(benchmark: BenchmarkFixture) -> None:
    """16 channels, 8 cells, batch 16, 32x32 images: the textbook's layouts, ours, and ours with one part replaced by PyTorch's."""
    space, options = DARTS(), SupernetOptions()

    def fast(**changes: object) -> Search:
        return Search(space.supernet(CIFAR, replace(options, **changes)), space)  # type: ignore[arg-type]

    def plain(last: bool) -> Search:
        return Search(darts_textbook.Textbook(space, CIFAR, options), space, last=last)

    ours = fast()
    all_plain = {"depthwise": plain_depthwise, "mixture": plain_mixture}
    found = table(
        "DARTS, 16 channels, 8 cells, batch 16, 32x32",
        {
            "textbook": Variant(plain(last=False)),
            "textbook, channels last": Variant(plain(last=True)),
            "textbook, channels last, bfloat16 autocast": Variant(plain(last=True), bfloat16),
            "grouped: edges side by side, PyTorch's operations": Variant(fast(layout="grouped")),
            "edges, all parts PyTorch's: shared ReLU and pooling": Variant(fast(), partial(replaced, **all_plain)),
            "edges, but depthwise gradients PyTorch's": Variant(fast(), partial(replaced, depthwise=plain_depthwise)),
            "edges, but sums of a node PyTorch's": Variant(fast(), partial(replaced, mixture=plain_mixture)),
            "edges": Variant(ours),
            "edges, recomputed": Variant(fast(recompute=True)),
            "edges, shared weights": Variant(fast(shared=True)),
            "edges, a quarter of the channels": Variant(fast(partial=4)),
            "edges, half as bottleneck": Variant(fast(bottleneck=2)),
            "edges, derived cells": Variant(fast(derived=True)),
        },
    )
    benchmark.extra_info |= {name.strip(): round(found["textbook"] / each, 2) for name, each in found.items()}
    benchmark.pedantic(ours.step, rounds=2)


def test_a_step_of_nasbench201(benchmark: BenchmarkFixture) -> None:
    """16 channels, 5 cells per stage, batch 16, 32x32 images; and the small network of digits201, batch 64."""
    space, digits = NASBench201(), task_of("digits201")
    ours = Search(space.supernet(CIFAR, SupernetOptions()), space)
    found = table(
        "NAS-Bench-201, 16 channels, 5 cells per stage, batch 16, 32x32",
        {
            "textbook": Variant(Search(nasbench201_textbook.Textbook(CIFAR, SupernetOptions()), space, last=False)),
            "textbook, channels last": Variant(Search(nasbench201_textbook.Textbook(CIFAR, SupernetOptions()), space)),
            "grouped": Variant(Search(space.supernet(CIFAR, SupernetOptions(layout="grouped")), space)),
            "edges": Variant(ours),
        },
    )
    table(
        "the small network of digits201, batch 64",
        {
            "textbook": Variant(Search(nasbench201_textbook.Textbook(digits, SupernetOptions()), space, 64, digits, last=False)),
            "edges": Variant(Search(space.supernet(digits, SupernetOptions()), space, 64, digits)),
        },
    )
    benchmark.extra_info |= {name: round(found["textbook"] / each, 2) for name, each in found.items()}
    benchmark.pedantic(ours.step, rounds=2)


def test_how_time_and_memory_grow(benchmark: BenchmarkFixture) -> None:
    """Channels, cells or batch doubled, one at a time, from 8 channels, 5 cells, batch 8."""
    space, base = DARTS(), {"channels": 8, "cells": 5, "batch": 8}
    searches = {}
    for name in (None, "channels", "cells", "batch"):
        size = base if name is None else base | {name: 2 * base[name]}
        network = space.supernet(CIFAR, SupernetOptions(channels=size["channels"], cells=size["cells"]))
        searches[", ".join(f"{value} {key}" for key, value in size.items())] = Variant(Search(network, space, size["batch"]))
    table("DARTS on 32x32 images as it grows", searches)
    benchmark.pedantic(next(iter(searches.values())).step, rounds=2)
