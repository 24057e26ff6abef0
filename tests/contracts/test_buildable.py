"""The contract of a space with networks that can be built. It runs for every such space in the registry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from budgetnas.spaces.registry import SPACES, space_of  # noqa: E402
from budgetnas.spaces.space import Architecture, Buildable, Complexity, Described, InvalidArchitecture, Space, sample  # noqa: E402
from budgetnas.spaces.task import TASKS, Task  # noqa: E402

pytestmark = pytest.mark.slow

SMALL = TASKS["digits"]
Counted = Callable[..., Complexity]
EVERY = pytest.mark.parametrize("space", [s for name in SPACES if isinstance(s := space_of(name), Buildable)], ids=lambda space: space.name)


def some(space: Space, count: int, connected: bool = False) -> list[Architecture]:
    rng = np.random.default_rng(4)
    found: list[Architecture] = []
    while len(found) < count:
        arch = sample(space, rng)
        if space.connected(arch) or not connected:
            found.append(arch)
    return found


def built(space: Buildable, arch: Architecture, task: Task = SMALL, seed: int = 0, auxiliary: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    return space.network(arch, task, auxiliary=auxiliary)


def images(task: Task = SMALL, count: int = 8):
    return torch.rand(count, task.image_channels, task.image_size, task.image_size, generator=torch.Generator().manual_seed(5))


@EVERY
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_closed_form_equals_a_count_in_the_network(space: Buildable, task: Task, counted: Counted) -> None:
    for arch in some(space, 3):
        with torch.device("meta"):
            network = space.network(arch, task)
        assert counted(network, task) == space.complexity(arch, task)


@EVERY
def test_every_parameter_has_a_gradient_unless_the_output_does_not_depend_on_it(space: Buildable) -> None:
    for arch in some(space, 3, connected=True):
        network = built(space, arch)
        labels = torch.arange(8) % SMALL.classes
        nn.functional.cross_entropy(network(images()), labels).backward()
        without = [parameter for parameter in network.parameters() if parameter.grad is None or not parameter.grad.any()]
        before = network(images())
        with torch.no_grad():
            for parameter in without:
                parameter.add_(torch.randn_like(parameter))
        assert torch.equal(network(images()), before)
        assert len(without) < len(list(network.parameters())) / 2


@EVERY
def test_a_seed_determines_the_weights(space: Buildable) -> None:
    arch = some(space, 1)[0]
    weights = built(space, arch, seed=1).state_dict()
    same, other = (built(space, arch, seed=seed).state_dict() for seed in (1, 2))
    assert list(same) == list(weights)
    assert all(torch.equal(same[name], weights[name]) for name in weights)
    assert any(not torch.equal(other[name], weights[name]) for name in weights)


@EVERY
@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 3, 8, 8), (2, 1, 8, 16), (1, 8, 8)], ids=str)
def test_images_of_another_shape_are_refused_in_one_line(space: Buildable, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = space.network(some(space, 1)[0], SMALL)
        with pytest.raises(ValueError) as refused:
            network(torch.empty(shape))
    assert type(refused.value).__module__.startswith("budgetnas.")
    assert "(N, 1, 8, 8)" in str(refused.value) and "\n" not in str(refused.value)


@EVERY
def test_an_invalid_architecture_is_refused(space: Buildable) -> None:
    genes = some(space, 1)[0].genes
    for bad in (Architecture("elsewhere", genes), Architecture(space.name, genes[:-1]), Architecture(space.name, (*genes[:-1], 99))):
        with pytest.raises(InvalidArchitecture):
            space.network(bad, SMALL)


@EVERY
def test_evaluation_of_an_image_does_not_depend_on_the_batch_or_the_memory_format(space: Buildable) -> None:
    network = built(space, some(space, 1, connected=True)[0])
    network(images())  # updates the running averages
    network.eval()
    with torch.no_grad():
        together = network(images())
        torch.testing.assert_close(network(images()[3:4]), together[3:4])
        last = network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(last(images().to(memory_format=torch.channels_last)), together)


@EVERY
def test_an_auxiliary_head_exists_only_if_it_is_requested(space: Buildable) -> None:
    arch = some(space, 1, connected=True)[0]
    plain, asked = built(space, arch), built(space, arch, auxiliary=True)
    assert not hasattr(plain, "with_auxiliary")
    if not hasattr(asked, "with_auxiliary"):
        assert list(asked.state_dict()) == list(plain.state_dict())
        return
    plain.load_state_dict(asked.state_dict(), strict=False)
    logits, auxiliary = asked.with_auxiliary(images())
    assert auxiliary.shape == (8, SMALL.classes)
    torch.testing.assert_close(plain(images()), logits)
    torch.testing.assert_close(asked(images()), logits)
    auxiliary.sum().backward()
    assert asked.classifier.weight.grad is None
    assert isinstance(space, Described)
    assert sum(parameter.numel() for parameter in asked.parameters()) == space.figures(arch, SMALL)["params_with_auxiliary"]


@EVERY
def test_paths_are_dropped_in_training_only(space: Buildable) -> None:
    network = built(space, some(space, 1, connected=True)[0])
    if not hasattr(network, "drop_path"):
        return
    assert network.drop_path == 0.0
    network.drop_path = 0.5
    first, second = network(images()), network(images())
    assert not torch.allclose(first, second)
    network.eval()
    evaluated = network(images())
    network.drop_path = 0.0
    assert torch.equal(network(images()), evaluated)
