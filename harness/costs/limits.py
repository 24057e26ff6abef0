"""Limits as text, such as `latency_ms<=5`, `params<=500k` or `latency_ms@q10`: parsed, resolved into numbers and merged."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from budgetnas.harness.costs.costed_space import CostedSpace
from budgetnas.harness.problem import Limit
from budgetnas.spaces.devices import DEVICE_RESOURCES, RESOURCES
from budgetnas.spaces.space import Enumerable, HasCheapest

UNLIMITED = "unlimited"
_BOUND = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([0-9.]+)(?:[eE]([+-]?[0-9]+))?\s*([kMG]?)\s*")
_QUANTILE = re.compile(r"\s*(\w+)\s*@\s*q([0-9]+(?:\.[0-9]+)?)\s*")
_ZEROS = {"": 0, "k": 3, "M": 6, "G": 9}
_FORMS = (
    "write resource<=NUMBER, resource>=NUMBER (k, M or G may follow) or resource@qNN, such as latency_ms<=5, params<=1.2M, energy_mj@q10"
)


class InvalidLimit(ValueError):
    """Raised for a limit that cannot be read, or that no architecture can meet. The message names what was expected."""


@dataclass(frozen=True, slots=True)
class QuantileLimit:
    """An upper limit that admits about `percent` % of the eligible architectures of a space."""

    resource: str
    percent: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """A group of limits that must all hold, in numbers.

    Args:
        label: The text that the limits were given as.
        limits: The limits in numbers, at most one for each resource.
        feasible: How many of the listed architectures the limits admit.
        share: `feasible` as a share of the eligible architectures, 0 to 1.
    """

    label: str
    limits: tuple[Limit, ...]
    feasible: int
    share: float

    @property
    def text(self) -> str:
        """The limits in numbers as text, such as `latency_ms<=3.52,params<=500000`."""
        return ",".join(str(limit) for limit in self.limits) or UNLIMITED


def parse_limit(text: str) -> Limit | QuantileLimit:
    """Return the limit that a text stands for. Raises `InvalidLimit` if it cannot be read."""
    if match := _QUANTILE.fullmatch(text):
        resource, percent = match[1], float(match[2])
        if not 0 < percent <= 100:
            raise InvalidLimit(f"limit '{text}': the quantile must be above 0 and at most 100")
        limit: Limit | QuantileLimit = QuantileLimit(resource, percent)
    elif match := _BOUND.fullmatch(text):
        resource, relation, number, exponent, suffix = match.groups()
        try:
            # Parsed as one number: in floating point, 1.009 times 1,000 is slightly less than 1,009, but `1.009k` must admit 1,009.
            value = float(f"{number}e{int(exponent or 0) + _ZEROS[suffix]}")
        except ValueError:
            raise InvalidLimit(f"limit '{text}': '{number}' is not a number; {_FORMS}") from None
        if not math.isfinite(value):
            raise InvalidLimit(f"limit '{text}': the bound must be finite")
        limit = Limit(resource, upper=value) if relation == "<=" else Limit(resource, lower=value)
    elif not text.strip():
        raise InvalidLimit(f"a limit is empty; {_FORMS}, or '{UNLIMITED}'")
    else:
        raise InvalidLimit(f"limit '{text}' cannot be read; {_FORMS}")
    if resource not in RESOURCES:
        raise InvalidLimit(f"limit '{text}': unknown resource '{resource}'; choose one of {', '.join(RESOURCES)}")
    return limit


def parse_limits(texts: Sequence[str]) -> tuple[Limit | QuantileLimit, ...]:
    """Return the limits in several texts. A text may hold several limits, separated by commas; `unlimited` stands for no limit."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    return tuple(parse_limit(part) for part in parts if part != UNLIMITED)


def quantile(costed: CostedSpace, resource: str, percent: float) -> Limit:
    """Return the upper limit that admits the share of eligible architectures nearest to `percent`.

    The limit is halfway between two neighbouring attained values, or the largest value if all are admitted. It admits at least the
    smallest value. If two shares are equally near, the smaller one is taken.
    """
    values = costed.resource(resource)[costed.eligible]
    if len(values) == 0:
        raise InvalidLimit(f"no architecture is both connected and supported on {costed.device}, so {resource}@q{percent:g} has no meaning")
    attained, counts = np.unique(values, return_counts=True)
    admitted: list[int] = np.cumsum(counts).tolist()
    # Exact arithmetic (integers and fractions), so that rounding does not decide a tie.
    wanted = Fraction(str(percent)) * len(values) / 100
    enough = bisect_left(admitted, wanted)
    nearest = enough - 1 if enough > 0 and wanted - admitted[enough - 1] <= admitted[enough] - wanted else enough
    following = attained[min(nearest + 1, len(attained) - 1)]
    # If the two values are neighbouring floating-point numbers, their mean can round to the following one, which must not be admitted.
    upper = min((attained[nearest] + following) / 2.0, np.nextafter(following, attained[nearest]))
    return Limit(resource, upper=float(upper))


def _joined(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return one limit for each resource, with its tightest bounds, in order of first appearance."""
    joined: dict[str, Limit] = {}
    for limit in limits:
        old = joined.get(limit.resource, Limit(limit.resource))
        joined[limit.resource] = Limit(limit.resource, min(old.upper, limit.upper), max(old.lower, limit.lower))
    for limit in joined.values():
        if limit.lower > limit.upper:
            raise InvalidLimit(f"nothing can meet {limit}: the lower bound is above the upper one")
    return tuple(joined.values())


def resolve(costed: CostedSpace, texts: Sequence[str]) -> Bounds:
    """Return the limits of `texts`, which must all hold, in numbers.

    Raises:
        InvalidLimit: A limit cannot be read, or the limits contradict each other.
        UnknownResource: The space has no figures of a resource.
    """
    parsed = parse_limits(texts)
    limits = _joined([quantile(costed, p.resource, p.percent) if isinstance(p, QuantileLimit) else p for p in parsed])
    admitted = int(costed.admitted(limits).sum())
    eligible = int(costed.eligible.sum())
    label = ",".join(part.strip() for text in texts for part in text.split(",") if part.strip()) or UNLIMITED
    return Bounds(label, limits, admitted, admitted / eligible if eligible else 0.0)


def resolve_all(costed: CostedSpace, groups: Sequence[Sequence[str]]) -> list[Bounds]:
    """Return every group of limits in numbers, in order. Groups with the same limits are merged and keep all their labels."""
    merged: dict[frozenset[Limit], list[Bounds]] = {}
    for texts in groups:
        bounds = resolve(costed, texts)
        merged.setdefault(frozenset(bounds.limits), []).append(bounds)
    return [replace(equal[0], label=" = ".join(dict.fromkeys(bounds.label for bounds in equal))) for equal in merged.values()]


def require_attainable(costed: CostedSpace, bounds: Bounds) -> None:
    """Raise `InvalidLimit` if an upper limit is below the smallest cost of any architecture, and name that cost.

    The smallest cost is known if the architectures can be listed, or if the space can build its cheapest one. Otherwise nothing is
    checked: a sample without a feasible architecture proves nothing.
    """
    for limit in bounds.limits:
        least = _least(costed, limit.resource)
        if least is not None and limit.upper < least:
            raise InvalidLimit(
                f"nothing can meet {limit}: the smallest network of {costed.space.name} on {costed.task.dataset} has {limit.resource}"
                f" {least:.10g}; allow that much or more"
            )


def _least(costed: CostedSpace, resource: str) -> float | None:
    space = costed.space
    if isinstance(space, HasCheapest):
        return costed.cost_of(space.cheapest(resource, costed.task, costed.device))[resource]
    if isinstance(space, Enumerable) and costed.eligible.any():
        return float(costed.resource(resource)[costed.eligible].min())
    return None


def axis(limits: Sequence[Limit], costed: CostedSpace) -> str:
    """Return the resource for the axis of plots: the first limited one of the device, else the first limited one, else the first known."""
    names = [limit.resource for limit in limits]
    return next((name for name in names if name in DEVICE_RESOURCES), names[0] if names else costed.resources[0])
