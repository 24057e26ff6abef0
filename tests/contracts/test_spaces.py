"""The contract of a space. It runs for every space in the registry."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.spaces.registry import SPACES, UnknownSpace, space_of
from budgetnas.spaces.space import Architecture, Complexity, Enumerable, InvalidArchitecture, Space, check_genes, neighbours, sample
from budgetnas.spaces.task import TASKS, Task

WITH_PARAMETERS = ("darts[cells=8,groups=3]", "darts[connection=true,groups=2]")
NAMES = (*SPACES, *WITH_PARAMETERS)
EVERY = pytest.mark.parametrize("space", [space_of(name) for name in NAMES], ids=NAMES)
ENUMERABLE = pytest.mark.parametrize(
    "space", [s for name in SPACES if isinstance(s := space_of(name), Enumerable)], ids=lambda space: space.name
)
QUESTIONS = ("encode", "connected", "canonical")


def some(space: Space, count: int = 200) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [sample(space, rng) for _ in range(count)]


def refusal(space: Space, text: str) -> str:
    with pytest.raises(InvalidArchitecture) as refused:
        space.decode(text)
    return str(refused.value)


@EVERY
def test_it_is_registered_under_its_name(space: Space) -> None:
    assert isinstance(space, Space)
    assert space_of(space.name) is space
    assert space.arity and all(type(choices) is int and choices >= 1 for choices in space.arity)


def test_an_unknown_space_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(UnknownSpace, match=r"unknown space 'nasbench2O1'; choose one of .*nasbench201"):
        space_of("nasbench2O1")


@EVERY
def test_decode_inverts_encode(space: Space) -> None:
    archs = some(space)
    texts = [space.encode(arch) for arch in archs]
    assert [space.decode(text) for text in texts] == archs
    assert len(set(texts)) == len(set(archs))
    assert all(text == text.strip() and text.isprintable() for text in texts)
    assert space.decode(f"  {texts[0]}\n") == archs[0]


@EVERY
def test_decoded_genes_are_plain_whole_numbers(space: Space) -> None:
    arch = space.decode(space.encode(some(space, 1)[0]))
    assert type(arch.genes) is tuple and all(type(gene) is int for gene in arch.genes)
    assert arch.space == space.name


@EVERY
@settings(deadline=None)
@given(text=st.text(max_size=300))
def test_any_text_is_decoded_or_refused_in_one_line(space: Space, text: str) -> None:
    try:
        arch = space.decode(text)
    except InvalidArchitecture as refused:
        assert str(refused) and "\n" not in str(refused)
    else:
        check_genes(space, arch)


@pytest.mark.slow
@EVERY
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_text_with_a_typing_error_is_refused_in_one_line_or_gives_a_valid_architecture(space: Space, data: st.DataObject) -> None:
    text = space.encode(Architecture(space.name, tuple(data.draw(st.integers(0, choices - 1)) for choices in space.arity)))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    slipped = text[:start] + data.draw(st.text(st.characters() | st.sampled_from(text), max_size=3)) + text[end:]
    try:
        arch = space.decode(slipped)
    except InvalidArchitecture as refused:
        assert "\n" not in str(refused) and len(str(refused)) < 600
    else:
        check_genes(space, arch)
        # A text may have several forms, but all have the same characters: the reader did not skip any.
        written = space.encode(arch)
        assert space.decode(written) == arch
        assert sorted(written.replace(" ", "")) == sorted("".join(slipped.split()))


@EVERY
def test_a_text_is_never_executed(space: Space, tmp_path: Path) -> None:
    written = tmp_path / "written"
    program = f"__import__('pathlib').Path({str(written)!r}).touch()"
    whole = space.encode(some(space, 1)[0])
    for text in (program, f"[{program}]", f"{whole}{program}", f"{{{program}}}", whole.replace(whole[1:6], program, 1)):
        assert "\n" not in refusal(space, text)
    assert not written.exists()


@EVERY
def test_the_error_for_a_long_text_is_short(space: Space) -> None:
    assert len(refusal(space, "x" * 1_000_000)) < 600
    assert len(refusal(space, space.encode(some(space, 1)[0]) * 10_000)) < 600


@EVERY
@pytest.mark.parametrize(
    "slip", ["other space", "too few", "too many", "out of range", "far out of range", "negative", "fraction", "list", "none"]
)
def test_every_method_refuses_an_invalid_architecture(space: Space, slip: str) -> None:
    genes = some(space, 1)[0].genes
    bad: Architecture = {
        "other space": Architecture("elsewhere", genes),
        "too few": Architecture(space.name, genes[:-1]),
        "too many": Architecture(space.name, (*genes, 0)),
        "out of range": Architecture(space.name, (*genes[:-1], space.arity[-1])),
        "far out of range": Architecture(space.name, (*genes[:-1], 10**9)),
        "negative": Architecture(space.name, (*genes[:-1], -1)),
        "fraction": Architecture(space.name, (*genes[:-1], 0.5)),
        "list": Architecture(space.name, list(genes)),
        "none": None,
    }[slip]  # type: ignore[assignment,arg-type]
    for question in (*QUESTIONS, *(["index"] if isinstance(space, Enumerable) else [])):
        with pytest.raises(InvalidArchitecture):
            getattr(space, question)(bad)
    with pytest.raises(InvalidArchitecture):
        space.complexity(bad, TASKS["cifar10"])


@EVERY
def test_genes_may_have_any_integer_type(space: Space) -> None:
    for arch in some(space, 20):
        for kind in (np.int64, np.int8, np.uint8):
            same = Architecture(space.name, tuple(kind(gene) for gene in arch.genes))
            assert space.encode(same) == space.encode(arch)
            assert space.canonical(same) == space.canonical(arch)


@EVERY
def test_canonical_is_its_own_canonical_form(space: Space) -> None:
    for arch in some(space):
        canonical = space.canonical(arch)
        check_genes(space, canonical)
        assert space.canonical(canonical) == canonical
        assert space.connected(canonical) == space.connected(arch)


@EVERY
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_complexity_is_positive_integers(space: Space, task: Task) -> None:
    for arch in some(space, 30):
        complexity = space.complexity(arch, task)
        assert isinstance(complexity, Complexity)
        assert type(complexity.params) is int and type(complexity.macs) is int
        assert complexity.params > 0 and complexity.macs > 0


@EVERY
def test_more_classes_cost_more_and_larger_images_only_more_macs(space: Space) -> None:
    small, large, many = Task("a", 16, 3, 10), Task("b", 32, 3, 10), Task("c", 16, 3, 11)
    for arch in some(space, 30):
        base, larger, more = (space.complexity(arch, task) for task in (small, large, many))
        assert larger.params == base.params and larger.macs > base.macs
        assert more.params > base.params and more.macs > base.macs


@EVERY
def test_the_identity_is_connected_and_has_fewer_parameters_than_most_neighbours(space: Space) -> None:
    if space.identity is not None:
        check_genes(space, space.identity)
        assert space.connected(space.identity)
        # Most, not all: where FBNet changes the shape, its skip is a full 1x1 convolution, and two grouped ones may have fewer parameters.
        usual = statistics.median(space.complexity(arch, TASKS["cifar10"]).params for arch in neighbours(space, space.identity))
        assert space.complexity(space.identity, TASKS["cifar10"]).params <= usual


@ENUMERABLE
def test_every_index_is_a_different_architecture(space: Enumerable) -> None:
    assert space.size == math.prod(space.arity)
    archs = [space.at(index) for index in range(space.size)]
    assert len(set(archs)) == space.size
    indices = [space.index(arch) for arch in archs]
    assert indices == list(range(space.size))
    assert all(type(index) is int for index in indices)
    for arch in archs:
        check_genes(space, arch)


@ENUMERABLE
def test_canonical_has_the_lowest_index_of_its_class(space: Enumerable) -> None:
    for arch in some(space, 500):
        assert space.index(space.canonical(arch)) <= space.index(arch)


@ENUMERABLE
@pytest.mark.parametrize(
    "index",
    [-1, "size", 10**30, -(10**30), 10**5000, 1.0, float("nan"), "0", None],
    ids=lambda index: f"{index!s:.6}" if type(index) is not int or index < 10**99 else "huge",
)
def test_an_invalid_index_is_refused_in_one_line(space: Enumerable, index: object) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        space.at(space.size if index == "size" else index)  # type: ignore[arg-type]
    assert str(space.size - 1) in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 200


@ENUMERABLE
def test_an_index_may_have_any_integer_type(space: Enumerable) -> None:
    for index in (np.int64(3), np.uint8(3), np.array(3)):
        assert space.at(index) == space.at(3)  # type: ignore[arg-type]
    assert space.at(True) == space.at(1)


@ENUMERABLE
def test_arrays_over_all_architectures_equal_single_answers(space: Enumerable) -> None:
    indices = np.random.default_rng(6).integers(space.size, size=300).tolist()
    connected = space.connected_mask()  # type: ignore[attr-defined]
    assert connected.shape == (space.size,)
    assert [bool(connected[i]) for i in indices] == [space.connected(space.at(i)) for i in indices]
    for task in TASKS.values():
        params, macs = space.complexities(task)  # type: ignore[attr-defined]
        assert params.shape == macs.shape == (space.size,)
        assert [Complexity(int(params[i]), int(macs[i])) for i in indices] == [space.complexity(space.at(i), task) for i in indices]
        for shared in (params, macs, connected):
            with pytest.raises(ValueError, match="read-only"):
                shared[0] = 0
