"""RCNet's chains: the paper's figures, a plain count of the network, and the points that the paper leaves open."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.spaces.chains import RCNet
from budgetnas.spaces.chains.complexity import Block, Pooling
from budgetnas.spaces.chains.rcnet import InvalidChain
from budgetnas.spaces.chains.rcnet_skeleton import Skeleton
from budgetnas.spaces.registry import UnknownSpace, space_of
from budgetnas.spaces.space import Architecture, Complexity, HasCheapest, InvalidArchitecture
from budgetnas.spaces.task import TASKS, Task

SPACE = RCNet()
IMAGENET, CIFAR100, DIGITS = TASKS["imagenet"], TASKS["cifar100"], TASKS["digits"]
RCNET_B = "5 3 5 1 0 0 5 2 5 3 3 5 5 5 3 5 5 6 5 1 5 5 4 5 5 4 5 5 4 5 0 5 0 0 0 0"
BLOCKS = {1: (3, 1, 1), 2: (3, 1, 2), 3: (6, 2, 2), 4: (6, 1, 2), 5: (6, 1, 1), 6: (12, 2, 4)}
SMALL, LARGE = [1, 2, 2, 1, 2, 1], [2, 2, 2, 1, 2, 1]

chains = st.builds(
    RCNet, positions=st.sampled_from([6, 12, 18, 36]), width=st.integers(13, 200), activation=st.sampled_from(["relu", "relu6"])
)
tasks = st.builds(Task, st.just("any"), st.integers(1, 300), st.integers(1, 4), st.integers(2, 1000))
codes_of = {n: st.tuples(*[st.sampled_from([0, 0, *range(7)])] * n) for n in (6, 12, 18, 36)}


def chain(space: RCNet, genes: tuple[int, ...]) -> Architecture:
    return Architecture(space.name, genes)


def count(genes: tuple[int, ...], task: Task, width: int = 100) -> Complexity:
    """Return the complexity counted layer by layer, convolution by convolution."""
    params = macs = 0

    def convolve(kernel: int, before: int, after: int, groups: int, side: int) -> None:
        nonlocal params, macs
        assert before % groups == 0 and after % groups == 0
        params += kernel * kernel * before * after // groups + 2 * after
        macs += kernel * kernel * before * after // groups * side * side

    def block(kind: tuple[int, int, int], before: int, after: int, side: int, stride: int) -> int:
        hidden, after_side = kind[0] * before, (side + stride - 1) // stride
        convolve(1, before, hidden, kind[1], side)
        convolve(3, hidden, hidden, hidden, after_side)
        convolve(1, hidden, after, kind[2], after_side)
        if stride == 1 and before != after:
            convolve(1, before, after, 1, after_side)
        return after_side

    stem, fixed, *stages, head = (4 * max(1, int(n * width / 400 + 0.5)) for n in (32, 16, 24, 32, 64, 96, 160, 320, 1280))
    side = task.image_size if task.image_size <= 64 else (task.image_size + 1) // 2
    convolve(3, task.image_channels, stem, 1, side)
    channels = fixed
    block((1, 1, 1), stem, fixed, side, 1)
    per_stage = len(genes) // 6
    for stage, stride in enumerate(SMALL if task.image_size <= 64 else LARGE):
        for code in genes[stage * per_stage :][:per_stage]:
            if code:
                side = block(BLOCKS[code], channels, stages[stage], side, stride)
                channels, stride = stages[stage], 1
        side = (side + stride - 1) // stride
    convolve(1, channels, head, 1, side)
    return Complexity(params + (head + 1) * task.classes, macs + head * task.classes)


def test_the_papers_imagenet_network_has_the_exact_published_complexity() -> None:
    arch = SPACE.decode(RCNET_B)
    assert SPACE.complexity(arch, IMAGENET) == Complexity(4_749_024, 472_448_320)
    assert SPACE.published == {"rcnet_b": arch}
    assert RCNet(positions=6).published == {}


@given(data=st.data(), space=chains, task=tasks)
def test_complexity_equals_a_count_layer_by_layer(data: st.DataObject, space: RCNet, task: Task) -> None:
    genes = data.draw(codes_of[space.positions])
    assert space.complexity(chain(space, genes), task) == count(genes, task, space.width)


def test_empty_stages_keep_their_strides() -> None:
    stem, fixed = 27 * 32, 32 * 32 + 9 * 32 + 2 * 32 * 16
    macs = (stem + fixed) * 112**2 + 16 * 1280 * 7**2 + 1280 * 1000
    assert SPACE.complexity(SPACE.identity, IMAGENET) == Complexity(1_307_496, macs)
    assert macs == 42_424_320
    assert [part.stride for part in SPACE.parts(SPACE.identity, IMAGENET) if isinstance(part, Pooling)] == [2, 2, 2, 2]
    assert [part.stride for part in SPACE.parts(SPACE.identity, CIFAR100) if isinstance(part, Pooling)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("image_size", "sides"),
    [
        (8, (8, 8, 4, 2, 2, 1, 1)),
        (28, (28, 28, 14, 7, 7, 4, 4)),
        (32, (32, 32, 16, 8, 8, 4, 4)),
        (64, (64, 64, 32, 16, 16, 8, 8)),
        (224, (112, 56, 28, 14, 14, 7, 7)),
    ],
)
def test_the_sides_of_all_levels(image_size: int, sides: tuple[int, ...]) -> None:
    assert Skeleton.of(100, Task("any", image_size, 3, 10)).sides == sides


def test_the_first_block_of_a_stage_has_its_stride_and_changes_the_channels() -> None:
    genes = (0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 0, 0, *(0,) * 12, 0, 0, 1, 0, 0, 0, *(0,) * 6)
    parts = list(SPACE.parts(chain(SPACE, genes), CIFAR100))[2:-1]
    shapes = [
        (part.at.side, part.at.channels_in, part.at.channels_out, part.at.stride) if isinstance(part, Block) else part for part in parts
    ]
    assert shapes == [(32, 16, 32, 2), (16, 32, 32, 1), Pooling(2), (8, 32, 160, 2)]


@given(data=st.data(), space=chains)
def test_the_network_does_not_depend_on_which_positions_of_a_stage_are_empty(data: st.DataObject, space: RCNet) -> None:
    arch = chain(space, data.draw(codes_of[space.positions]))
    canonical = space.canonical(arch)
    assert list(space.parts(canonical, DIGITS)) == list(space.parts(arch, DIGITS))
    per_stage = space.positions // 6
    stages = [canonical.genes[start : start + per_stage] for start in range(0, space.positions, per_stage)]
    assert all(list(stage) == sorted(stage, key=lambda code: code == 0) for stage in stages)


@given(data=st.data(), positions=st.sampled_from([6, 12]), width=st.integers(13, 200), size=st.sampled_from([8, 32, 224]))
def test_chains_with_different_canonical_forms_are_different_networks(data: st.DataObject, positions: int, width: int, size: int) -> None:
    space, task = RCNet(positions=positions, width=width), Task("any", size, 3, 10)
    first, second = (space.canonical(chain(space, data.draw(codes_of[positions]))) for _ in range(2))
    same = list(space.parts(first, task)) == list(space.parts(second, task))
    assert same == (first == second)


def test_a_stage_of_stride_1_changes_the_channels_at_every_width() -> None:
    for width in range(13, 201):
        _, _, _, third, fourth, fifth, sixth = Skeleton.of(width, CIFAR100).channels
        assert third != fourth and fifth != sixth


# --- the cost of an element --------------------------------------------------------------------------------------------------------------


@given(data=st.data(), positions=st.sampled_from([6, 36]), task=tasks)
def test_element_costs_add_up_if_every_position_is_filled(data: st.DataObject, positions: int, task: Task) -> None:
    space = RCNet(positions=positions)
    genes = data.draw(st.tuples(*[st.integers(1, 6)] * positions))
    elements = [space.element_cost(position, code, task) for position, code in enumerate(genes)]
    identity, full = space.complexity(space.identity, task), space.complexity(chain(space, genes), task)
    # The last convolution reads 320 channels where the identity's reads 16.
    wider, side = (320 - 16) * 1280, Skeleton.of(100, task).sides[-1]
    assert sum(element["params"] for element in elements) == full.params - identity.params - wider
    assert sum(element["macs"] for element in elements) == full.macs - identity.macs - wider * side * side


def test_the_cost_of_an_element_is_the_cost_of_its_block_at_its_position() -> None:
    # Block 5 first in the last stage: 160 to 320 channels, on 7x7 pixels, with a projected shortcut; then 320 to 320.
    first = (160 * 960 + 9 * 960 + 960 * 320 + 160 * 320, 2 * (960 + 960 + 320 + 320))
    later = (320 * 1920 + 9 * 1920 + 1920 * 320, 2 * (1920 + 1920 + 320))
    assert SPACE.element_cost(30, 5, IMAGENET) == {"params": sum(first), "macs": first[0] * 49}
    assert SPACE.element_cost(31, 5, IMAGENET) == {"params": sum(later), "macs": later[0] * 49}
    assert SPACE.element_cost(31, 0, IMAGENET) == {"params": 0, "macs": 0}


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (36, 1, "position 36 is outside 'rcnet'; choose 0 to 35"),
        (-1, 1, "position -1 is outside"),
        (3, 7, "position 3 has the code 7; 'rcnet' allows 0 to 6"),
        (3, -1, "position 3 has the code -1"),
    ],
)
def test_elements_that_do_not_exist_are_refused(position: int, value: int, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=re.escape(message)):
        SPACE.element_cost(position, value, IMAGENET)


# --- names and texts ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "parameters", "name"),
    [
        ("rcnet", {}, "rcnet"),
        ("rcnet[width=100,positions=36]", {}, "rcnet"),
        ("rcnet[width=25, positions=6]", {"positions": 6, "width": 25}, "rcnet[positions=6,width=25]"),
        ("rcnet[activation=relu]", {"activation": "relu"}, "rcnet[activation=relu]"),
    ],
)
def test_a_name_holds_the_parameters_that_differ_from_the_published_ones(written: str, parameters: Mapping[str, object], name: str) -> None:
    space = space_of(written)
    assert space == RCNet(**parameters) and space.name == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"positions": 0}, "positions is 0; choose 6, 12, 18, 24, 30 or 36"),
        ({"positions": 7}, "positions is 7"),
        ({"positions": 42}, "positions is 42"),
        ({"width": 12}, "width is 12; choose 13 to 200"),
        ({"width": 201}, "width is 201"),
        ({"activation": "swish"}, "activation is 'swish'; choose one of relu6, relu"),
    ],
)
def test_parameters_outside_their_range_are_refused(parameters: Mapping[str, object], message: str) -> None:
    with pytest.raises(InvalidChain, match=re.escape(message)):
        RCNet(**parameters)  # type: ignore[arg-type]
    written = ",".join(f"{key}={value}" for key, value in parameters.items())
    with pytest.raises(UnknownSpace, match=re.escape(f"space 'rcnet': {message}")):
        space_of(f"rcnet[{written}]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 codes are given; 'rcnet[positions=6]' has 6 positions: 0 is empty, 1 to 6 are block types"),
        ("5 3 0", "3 codes are given"),
        ("5 3 0 1 1 1 1", "7 codes are given"),
        ("5 3 0 1 1 7", "position 5 is '7'"),
        ("5 x 0 1 1 1", "position 1 is 'x'"),
        ("5 03 0 1 1 1", "position 1 is '03'"),
        ("5 -3 0 1 1 1", "position 1 is '-3'"),
        ("5 ٣ 0 1 1 1", "position 1 is '٣'"),
        ("5,3,0,1,1,1", "position 0 is '5,3,0,1,1,1'; 'rcnet[positions=6]' takes one code per position, separated by single spaces"),
        ("5  3 0 1 1 1", "the codes are not separated by single spaces"),
        ("5\n3 0 1 1 1", "the codes are not separated by single spaces"),
    ],
)
def test_a_text_that_is_not_a_chain_is_refused_with_the_position(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=re.escape(message)) as refused:
        RCNet(positions=6).decode(text)
    assert "\n" not in str(refused.value)


def test_a_chain_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match=re.escape("belongs to the space 'rcnet[positions=6]'; expected one of 'rcnet'")):
        SPACE.complexity(RCNet(positions=6).identity, CIFAR100)


@given(data=st.data(), space=chains, task=tasks)
def test_no_chain_is_cheaper_than_the_empty_one(data: st.DataObject, space: RCNet, task: Task) -> None:
    assert isinstance(space, HasCheapest)
    drawn = Architecture(space.name, data.draw(st.tuples(*[st.integers(0, 6)] * space.positions)))
    cost = space.complexity(drawn, task)
    least = space.complexity(space.cheapest("params", task), task)
    assert least.params <= cost.params and least.macs <= cost.macs
