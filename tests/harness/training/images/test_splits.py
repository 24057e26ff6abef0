"""Splits: each image is on exactly one side, classes keep their shares, and the seed decides the split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.training.images.dataset import Part
from budgetnas.harness.training.images.splits import CannotSplit, halves, of_each_class, split, subset


def numbered(labels: list[int]) -> Part:
    """Return images whose pixels are their number."""
    count = len(labels)
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    return Part(pixels, np.array(labels, np.int64))


def numbers(part: Part) -> list[int]:
    return part.pixels[:, 0, 0, 0].tolist()


LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=200)


@given(labels=LABELS, seed=st.integers(0, 2**63 - 1), data=st.data())
def test_a_split_is_a_partition_in_which_classes_keep_their_shares(labels: list[int], seed: int, data: st.DataObject) -> None:
    part = numbered(labels)
    count = data.draw(st.integers(1, len(labels) - 1))
    first, second = split(part, count, seed)
    assert len(first) == count
    assert sorted(numbers(first) + numbers(second)) == list(range(len(labels)))
    for side in (first, second):
        assert numbers(side) == sorted(numbers(side))
        assert side.labels.tolist() == [labels[number] for number in numbers(side)]
    for label in set(labels):
        exact = labels.count(label) * count / len(labels)
        assert abs(first.labels.tolist().count(label) - exact) < 1
    assert numbers(split(part, count, seed)[0]) == numbers(first)


def test_halves_have_equal_sizes_and_depend_on_the_seed() -> None:
    part = numbered([0, 1] * 50)
    weights, alphas = halves(part, 0)
    assert (len(weights), len(alphas)) == (50, 50)
    assert numbers(halves(part, 1)[0]) != numbers(weights)
    # Of an odd number, the first half has one more.
    assert [len(half) for half in halves(numbered([0] * 5), 0)] == [3, 2]


def test_of_each_class_takes_the_same_number_from_each_class() -> None:
    labels = [0] * 30 + [1] * 12 + [2] * 20
    validation, train = of_each_class(numbered(labels), 10, 3)
    assert np.bincount(validation.labels).tolist() == [10, 10, 10]
    assert np.bincount(train.labels).tolist() == [20, 2, 10]


def test_a_subset_as_large_as_the_part_is_the_part() -> None:
    part = numbered([0, 1, 2, 3])
    assert subset(part, 4, 0) is part and subset(part, None, 0) is part and subset(part, 9, 0) is part
    assert len(subset(part, 3, 0)) == 3


def test_an_impossible_split_is_an_error_with_the_allowed_numbers() -> None:
    part = numbered([0, 0, 0, 1])
    with pytest.raises(CannotSplit, match="4 of 4 images cannot be split off; choose 1 to 3"):
        split(part, 4, 0)
    with pytest.raises(CannotSplit, match="1 images of each class cannot be split off: the smallest class has 1; choose 1 to 0"):
        of_each_class(part, 1, 0)
