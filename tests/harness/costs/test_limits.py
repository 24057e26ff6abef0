"""Limits: their text forms, their values, and the architectures that they admit."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.costs.limits import InvalidLimit, QuantileLimit, axis, parse_limit, parse_limits, quantile, resolve, resolve_all
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, UnknownResource, tabulated_space_of
from budgetnas.harness.problem import Limit
from budgetnas.spaces.devices import UnknownDevice

CLOSED_FORM = tabulated_space_of("nasbench201", "closed-form", "closed-form")
WITHOUT_DEVICE = tabulated_space_of("nasbench201", "closed-form")
MakeTabulatedSpace = Callable[..., TabulatedSpace]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("latency_ms<=5", Limit("latency_ms", upper=5)),
        ("latency_ms <= 5.25", Limit("latency_ms", upper=5.25)),
        ("  latency_ms\t<=\t5  ", Limit("latency_ms", upper=5)),
        ("energy_mj>=.5", Limit("energy_mj", lower=0.5)),
        ("energy_mj<=5.", Limit("energy_mj", upper=5)),
        ("params<=500k", Limit("params", upper=500_000)),
        ("params<=500 k", Limit("params", upper=500_000)),
        ("params>=1.2M", Limit("params", lower=1_200_000)),
        ("macs<=0.1G", Limit("macs", upper=100_000_000)),
        ("macs<=1e8", Limit("macs", upper=100_000_000)),
        ("macs<=2.5E+7", Limit("macs", upper=25_000_000)),
        ("macs<=1e-2G", Limit("macs", upper=10_000_000)),
        ("params<=1.009k", Limit("params", upper=1009)),
        ("params<=0", Limit("params", upper=0)),
        ("params>=0", Limit("params")),
        ("latency_ms@q10", QuantileLimit("latency_ms", 10)),
        ("latency_ms@q05", QuantileLimit("latency_ms", 5)),
        ("latency_ms @ q2.5 ", QuantileLimit("latency_ms", 2.5)),
        ("params@q100", QuantileLimit("params", 100)),
        ("params@q0.01", QuantileLimit("params", 0.01)),
    ],
)
def test_limit_is_parsed(text: str, limit: Limit | QuantileLimit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("latency_ms", "cannot be read; write resource<=NUMBER, resource>=NUMBER"),
        ("latency_ms<5", "cannot be read"),
        ("latency_ms=<5", "cannot be read"),
        ("latency_ms=5", "cannot be read"),
        ("latency_ms==5", "cannot be read"),
        ("latency_ms<=", "cannot be read"),
        ("<=5", "cannot be read"),
        ("5<=latency_ms", "cannot be read"),
        ("latency_ms<=nan", "cannot be read"),
        ("latency_ms<=inf", "cannot be read"),
        ("latency_ms<=-5", "cannot be read"),
        ("latency_ms<=+5", "cannot be read"),
        ("latency_ms<=5ms", "cannot be read"),
        ("latency_ms<=5m", "cannot be read"),
        ("params<=5K", "cannot be read"),
        ("params<=1_000", "cannot be read"),
        ("params<=0x10", "cannot be read"),
        ("latency_ms<=5<=6", "cannot be read"),
        ("latency_ms<=5 6", "cannot be read"),
        ("latency_ms<=1.2.3", "'1.2.3' is not a number"),
        ("latency_ms<=.", "'.' is not a number"),
        ("latency_ms<=1e400", "the bound must be finite"),
        ("latency_ms<=1e308G", "the bound must be finite"),
        ("latency_ms<=" + "9" * 400, "the bound must be finite"),
        ("latency_ms<=1e" + "9" * 5000, "not a number"),
        ("latency_ms@q0", "the quantile must be above 0 and at most 100"),
        ("latency_ms@q0.0", "above 0"),
        ("latency_ms@q101", "at most 100"),
        ("latency_ms@q100.5", "at most 100"),
        ("latency_ms@q-5", "cannot be read"),
        ("latency_ms@10", "cannot be read"),
        ("latency_ms@q", "cannot be read"),
        ("latency_ms@qten", "cannot be read"),
        ("latency_ms@q1e1", "cannot be read"),
        ("latency<=5", "unknown resource 'latency'; choose one of latency_ms, energy_mj, params, macs"),
        ("LATENCY_MS<=5", "unknown resource 'LATENCY_MS'"),
        ("accuracy@q5", "unknown resource 'accuracy'"),
        ("flops<=5M", "unknown resource 'flops'"),
        ("__import__('os')<=5", "cannot be read"),
    ],
)
def test_invalid_limit_is_refused_with_what_was_expected(text: str, wrong: str) -> None:
    with pytest.raises(InvalidLimit) as refused:
        parse_limit(text)
    assert wrong in str(refused.value)
    assert f"limit '{text}'" in str(refused.value)


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"(latency_ms|params) ?(<=|>=|@q) ?[0-9.eE+-]{0,8}[kMG]?", fullmatch=True))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        limit = parse_limit(text)
    except InvalidLimit:
        return
    if isinstance(limit, Limit):
        assert limit.upper >= 0 and 0 <= limit.lower < math.inf
        assert limit.upper == math.inf or limit.lower == 0
    else:
        assert 0 < limit.percent <= 100


@settings(deadline=None)
@given(st.integers(1, 10**10), st.sampled_from([("k", 3), ("M", 6), ("G", 9)]))
def test_a_whole_number_written_with_a_suffix_is_that_number(number: int, suffix: tuple[str, int]) -> None:
    """For example, `params<=129.306k` admits a network of 129,306 parameters."""
    letter, zeros = suffix
    whole, rest = divmod(number, 10**zeros)
    assert parse_limit(f"params<={whole}.{rest:0{zeros}d}{letter}") == Limit("params", upper=float(number))


def test_limits_may_share_a_text_or_have_one_each() -> None:
    expected = (Limit("latency_ms", upper=5), Limit("params", lower=1000), QuantileLimit("energy_mj", 10))
    assert parse_limits(["latency_ms<=5, params>=1k", "energy_mj@q10"]) == expected
    assert parse_limits(["latency_ms<=5,params>=1k,unlimited", "energy_mj@q10"]) == expected
    assert parse_limits([]) == parse_limits(["unlimited"]) == ()
    for empty in ("", "latency_ms<=5,", "latency_ms<=5,,params>=1k", " "):  # an unset shell variable must not silently remove a limit
        with pytest.raises(InvalidLimit, match=r"a limit is empty; write .*, or 'unlimited'"):
            parse_limits([empty])
    with pytest.raises(InvalidLimit, match="'000'"):
        parse_limits(["params<=1,000"])


# --- Quantiles ----------------------------------------------------------------------------------------------------------------------------


def plain_quantile(values: list[float], percent: Fraction) -> float:
    """Return the slow reference, in exact arithmetic: the attained value with the nearest share; ties go to the smaller share."""
    attained = sorted(set(values))
    shares = {value: Fraction(sum(other <= value for other in values), len(values)) for value in attained}
    chosen = min(attained, key=lambda value: (abs(shares[value] - percent / 100), shares[value]))
    following = min((value for value in attained if value > chosen), default=chosen)
    return (chosen + following) / 2


@settings(deadline=None)
@given(
    values=st.lists(st.integers(1, 8).map(float), min_size=1, max_size=40),
    percent=st.integers(1, 100).map(str) | st.sampled_from(["0.1", "2.5", "12.5", "33.3", "99.9", "16.7"]),
)
def test_quantile_limit_equals_the_slow_reference(made_up: MakeTabulatedSpace, values: list[float], percent: str) -> None:
    tabulated = made_up(test=[50.0] * len(values), latency_ms=values)
    limit = quantile(tabulated, "latency_ms", float(percent))
    assert limit == Limit("latency_ms", upper=plain_quantile(values, Fraction(percent)))


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30), st.integers(1, 100))
def test_quantile_limit_admits_exactly_the_chosen_share(made_up: MakeTabulatedSpace, values: list[float], percent: int) -> None:
    """This also holds if neighbouring values differ only in the last bit, so that no number lies between them."""
    values = [*values, *(float(np.nextafter(value, math.inf)) for value in values)]
    tabulated = made_up(test=[50.0] * len(values), latency_ms=values)
    (bounds,) = resolve_all(tabulated, [[f"latency_ms@q{percent}"]])
    shares = [Fraction(sum(other <= value for other in values), len(values)) for value in sorted(set(values))]
    nearest = min(shares, key=lambda share: (abs(share - Fraction(percent, 100)), share))
    assert bounds.feasible == nearest * len(values)
    assert bounds.share == float(nearest)


def test_ties_go_to_the_smaller_share(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[50.0] * 10, latency_ms=[1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 4.0, 5.0, 6.0, 7.0])
    # The shares are 10, 30, 40, 70, ...: 20 is as near to 10 as to 30, and 55 is as near to 40 as to 70.
    assert quantile(tabulated, "latency_ms", 20) == Limit("latency_ms", upper=1.5)
    assert quantile(tabulated, "latency_ms", 55) == Limit("latency_ms", upper=3.5)
    assert quantile(tabulated, "latency_ms", 56) == Limit("latency_ms", upper=4.5)


def test_a_quantile_admits_at_least_the_smallest_value_and_at_most_all(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[50.0] * 5, latency_ms=[3.0, 3.0, 3.0, 3.0, 8.0])
    assert quantile(tabulated, "latency_ms", 1) == Limit("latency_ms", upper=5.5)
    assert quantile(tabulated, "latency_ms", 100) == Limit("latency_ms", upper=8.0)


def test_a_quantile_is_taken_over_connected_and_supported_architectures(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(
        test=[50.0] * 6, latency_ms=[1.0, math.nan, 2.0, 3.0, 4.0, 5.0], connected=[False] + [True] * 5, params=[1, 2, 30, 40, 50, 60]
    )
    assert quantile(tabulated, "latency_ms", 25) == Limit("latency_ms", upper=2.5)
    # The second architecture is not supported, so its parameters are ignored too.
    assert quantile(tabulated, "params", 25) == Limit("params", upper=35.0)
    assert resolve(tabulated, ["params@q25"]).share == 0.25


def test_quantile_without_eligible_architectures_is_refused(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[50.0, 60.0], latency_ms=[math.nan, 1.0], connected=[True, False])
    with pytest.raises(InvalidLimit, match="no architecture is both connected and supported on closed-form"):
        resolve(tabulated, ["params@q10"])


@pytest.mark.parametrize("resource", ["latency_ms", "energy_mj", "params", "macs"])
@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50, 75, 99, 100])
def test_quantiles_of_the_closed_form_benchmark(resource: str, percent: int) -> None:
    eligible = CLOSED_FORM.eligible
    values = CLOSED_FORM.resource(resource)[eligible]
    attained, counts = np.unique(values, return_counts=True)
    shares = {value: Fraction(int(count), len(values)) for value, count in zip(attained.tolist(), np.cumsum(counts), strict=True)}
    chosen = min(shares, key=lambda value: (abs(shares[value] - Fraction(percent, 100)), value))
    bounds = resolve(CLOSED_FORM, [f"{resource}@q{percent}"])
    assert bounds.feasible == int((values <= chosen).sum())
    assert bounds.share == float(shares[chosen])
    assert bounds.limits[0].upper >= chosen
    assert all(bounds.limits[0].upper < value for value in attained[attained > chosen][:1])


# --- Several limits -----------------------------------------------------------------------------------------------------------------------


def test_limits_on_one_resource_are_joined_to_the_tightest() -> None:
    bounds = resolve(CLOSED_FORM, ["latency_ms<=5,params>=100k", "latency_ms<=4", "latency_ms>=2", "latency_ms>=1.5", "params<=1M"])
    assert bounds.limits == (Limit("latency_ms", upper=4, lower=2), Limit("params", upper=1e6, lower=1e5))
    assert bounds.text == "latency_ms<=4,latency_ms>=2,params<=1000000,params>=100000"
    assert bounds.label == "latency_ms<=5,params>=100k,latency_ms<=4,latency_ms>=2,latency_ms>=1.5,params<=1M"


def test_text_of_bounds_can_be_parsed_again() -> None:
    bounds = resolve(CLOSED_FORM, ["latency_ms@q10", "energy_mj>=3.25", "params<=1.2M"])
    assert resolve(CLOSED_FORM, [bounds.text]).limits == bounds.limits
    assert resolve(CLOSED_FORM, []).text == resolve(CLOSED_FORM, ["unlimited"]).label == "unlimited"


def test_a_lower_bound_above_the_upper_one_is_refused() -> None:
    with pytest.raises(InvalidLimit, match="nothing can meet latency_ms<=2,latency_ms>=3"):
        resolve(CLOSED_FORM, ["latency_ms<=2", "latency_ms>=3"])
    assert resolve(CLOSED_FORM, ["latency_ms<=2", "latency_ms>=2"]).limits == (Limit("latency_ms", upper=2, lower=2),)


def test_equal_groups_are_merged_and_keep_each_label_once(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[50.0] * 4, latency_ms=[1.0, 1.0, 1.0, 2.0])
    groups = [["latency_ms@q5"], ["latency_ms@q10"], ["latency_ms@q90"], ["latency_ms@q5"], ["latency_ms<=1.5"], ["unlimited"]]
    found = resolve_all(tabulated, groups)
    # Only the shares 75 % and 100 % can be attained: 75 % is the nearest to 5 % and to 10 %, and 100 % is the nearest to 90 %.
    assert [bounds.label for bounds in found] == ["latency_ms@q5 = latency_ms@q10 = latency_ms<=1.5", "latency_ms@q90", "unlimited"]
    assert [bounds.feasible for bounds in found] == [3, 4, 4]


def test_order_of_limits_does_not_matter() -> None:
    found = resolve_all(CLOSED_FORM, [["latency_ms<=4", "params<=1M"], ["params<=1000k,latency_ms<=4.0"]])
    assert [bounds.label for bounds in found] == ["latency_ms<=4,params<=1M = params<=1000k,latency_ms<=4.0"]
    assert [limit.resource for limit in found[0].limits] == ["latency_ms", "params"]


def test_unknown_resource_is_refused() -> None:
    with pytest.raises(UnknownResource, match="latency_ms needs a device; name a device, or limit one of params, macs"):
        resolve(WITHOUT_DEVICE, ["latency_ms<=5"])


def test_a_device_without_the_metric_is_refused(real_tables: object) -> None:
    with pytest.raises(UnknownDevice, match="device 'pixel3' has no energy_mj; it has latency_ms"):
        resolve(tabulated_space_of("nasbench201", "cifar10", "pixel3"), ["energy_mj@q10"])


# --- Feasible -----------------------------------------------------------------------------------------------------------------------------


def test_disconnected_and_unsupported_architectures_are_never_admitted(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[50.0] * 4, latency_ms=[1.0, math.nan, 1.0, 1.0], connected=[True, True, False, True])
    for texts in ([], ["params<=1G"], ["latency_ms<=1G"], ["macs>=1"], ["latency_ms>=0"]):
        assert resolve(tabulated, texts).feasible == 2
    assert tabulated.admitted([Limit("params", upper=1e9)]).tolist() == [True, False, False, True]


def test_both_bounds_of_a_limit_are_inclusive(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[50.0] * 4, latency_ms=[1.0, 2.0, 3.0, 4.0])
    assert tabulated.admitted([Limit("latency_ms", upper=3, lower=2)]).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("limits", "resource"),
    [
        ((), "latency_ms"),
        ((Limit("params", upper=5),), "params"),
        ((Limit("params", upper=5), Limit("energy_mj", upper=5)), "energy_mj"),
        ((Limit("energy_mj", upper=5), Limit("latency_ms", upper=5)), "energy_mj"),
        ((Limit("macs", upper=5), Limit("params", upper=5)), "macs"),
    ],
)
def test_axis_is_a_limited_resource(limits: tuple[Limit, ...], resource: str) -> None:
    assert axis(limits, CLOSED_FORM) == resource


def test_axis_without_a_device_is_params() -> None:
    assert axis((), WITHOUT_DEVICE) == "params"


def test_quantiles_of_the_real_tables_keep_their_attained_share(real_tables: object) -> None:
    """Eyeriss has only tens of distinct latencies, so ties limit which shares are possible; the bounds report the attained share."""
    tabulated = tabulated_space_of("nasbench201", "cifar10", "eyeriss")
    values = tabulated.resource("latency_ms")[tabulated.eligible].tolist()
    assert len(values) == 15_625 - 341
    assert len(set(values)) < 100
    for percent in (5, 10, 25, 50):
        bounds = resolve(tabulated, [f"latency_ms@q{percent}"])
        assert bounds.limits[0].upper == plain_quantile(values, Fraction(percent))
        assert bounds.feasible == sum(value <= bounds.limits[0].upper for value in values)
