"""Bootstrap resamples in blocks: the figures of all draws at once, to the last bit, in memory that does not grow with the runs.

Samples of equal size share their draws, so that one pass of the random generator serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draws = NDArray[np.int64]

BLOCK = 2**16  # draws at a time: their indices and values stay in a processor's cache


def means_of_resamples(samples: Sequence[Floats], rng: np.random.Generator, resamples: int) -> Floats:
    """Return the means of resamples with replacement, shape (samples, resamples); every sample has the shape (runs,).

    All samples are resampled by the same draws, those that the generator would give for one of them. A single run needs none.
    """
    size = len(samples[0])
    if size == 1:
        return np.repeat(np.asarray(samples), resamples, axis=1)
    means = np.empty((len(samples), resamples))
    for rows in _blocks(resamples, size):
        draws = rng.integers(0, size, size=(rows.stop - rows.start, size))
        for sample, of_sample in zip(samples, means, strict=True):
            of_sample[rows] = _taken(sample, draws).mean(axis=1)
    return means


def trimmed_means_of_resamples(groups: Sequence[Sequence[Floats]], seed: int, resamples: int) -> Floats:
    """Return the interquartile means of stratified resamples, shape (groups, resamples).

    A group holds one sample for each stratum, shape (runs,); a stratum has the same number of runs in all groups. The draws are those that
    a generator with that seed gives if it resamples one stratum after the other.
    """
    sizes = tuple(len(sample) for sample in groups[0])
    total = sum(sizes)
    generators = [_at(state) for state in _starts(sizes, seed, resamples)]
    means = np.empty((len(groups), resamples))
    for rows in _blocks(resamples, total):
        count = rows.stop - rows.start
        draws = [rng.integers(0, size, size=(count, size)) for rng, size in zip(generators, sizes, strict=True)]
        for group, of_group in zip(groups, means, strict=True):
            drawn = np.concatenate([_taken(sample, of_stratum) for sample, of_stratum in zip(group, draws, strict=True)], axis=1)
            of_group[rows] = _trimmed_means(drawn)
    return means


def _trimmed_means(drawn: Floats) -> Floats:
    """Return the mean of the middle half of each row. It is scipy's `trim_mean`, to the last bit, without its copies."""
    cut = int(0.25 * drawn.shape[1])
    kept = drawn.shape[1] - cut
    means: Floats = np.partition(drawn, (cut, kept - 1), axis=1)[:, cut:kept].mean(axis=1)
    return means


def _taken(sample: Floats, draws: Draws) -> Floats:
    taken: Floats = sample.take(draws, mode="clip")  # no draw lies outside; the other modes are slower
    return taken


def _blocks(resamples: int, size: int) -> Iterator[slice]:
    """Yield the rows of each block of resamples of `size` runs."""
    step = max(1, BLOCK // size)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))


@lru_cache(maxsize=32)
def _starts(sizes: tuple[int, ...], seed: int, resamples: int) -> tuple[dict[str, object], ...]:
    """Return the generator's state before each stratum. A draw may take several random numbers, so the only way there is to draw."""
    rng = np.random.default_rng(seed)
    states = [dict(rng.bit_generator.state)]
    for size in sizes[:-1]:
        for rows in _blocks(resamples, size):
            rng.integers(0, size, size=(rows.stop - rows.start, size))
        states.append(dict(rng.bit_generator.state))
    return tuple(states)


def _at(state: dict[str, object]) -> np.random.Generator:
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng
