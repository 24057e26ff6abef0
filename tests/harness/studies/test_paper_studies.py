"""The studies that repeat tables of papers: their settings and limits equal the printed ones, so that a typing error is found."""

from __future__ import annotations

from typing import Any

from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.studies.study import MethodPart, Study, read_study


def study_of(name: str) -> Study:
    study, _ = read_study(name)
    return study


def settings_of(part: MethodPart) -> dict[str, Any]:
    return find_method(part.name).settings(part.settings)


def test_rc_darts_on_cifar10_follows_section_4_1_1_of_the_paper() -> None:
    study = study_of("rc-darts-cifar10")
    assert study.problem.limits == [["params>=180k", "params<=200k", "macs>=28M", "macs<=33M"]]
    assert study.problem.spaces == ["darts[cells=8,channels=16,connection=true,groups=3]"]
    assert (study.problem.datasets, study.problem.recipe) == (["cifar10"], "search-darts")
    of_paper = {"free_steps": 150, "projection_steps": 500, "projection_rate": 3e-4, "learning_rate": 3e-4, "exact": False, "repair": False}
    parts = [part for part in study.method if part.name == "rc_darts"]
    assert any(settings_of(part).items() >= of_paper.items() for part in parts)


def test_deff_arts_study_follows_the_paper() -> None:
    study = study_of("deff-arts-ladder")
    assert len(study.seed_list) == 4 and study.problem.limits == ["unlimited"] and study.problem.recipe == "search-darts"
    chosen = [settings_of(part) for part in study.method]
    assert [each["gamma"] for each in chosen] == [0.0, 0.01, 0.02, 0.04]
    assert all(
        (each["beta"], each["unrolled"], each["resource"], each["zero_cost"]) == (0.27, True, "paper_cycles", 999_999.0) for each in chosen
    )


def test_figure_4a_of_dca_nas_has_its_parts_added_in_turn_and_each_alone() -> None:
    chosen = [settings_of(part) for part in study_of("dca-nas-fig4a").method]
    parts = [(each["shared"], each["bottleneck"] > 1, each["derived"]) for each in chosen]
    assert parts == [
        (False, False, False), (True, False, False), (True, True, False), (True, True, True), (False, True, False), (False, False, True),
    ]  # fmt: skip
    rest = [{name: value for name, value in each.items() if name not in ("shared", "bottleneck", "derived")} for each in chosen]
    assert all(each == rest[0] for each in rest)


def test_table_3_of_rc_darts_is_complete() -> None:
    study = study_of("rc-darts-table3")
    assert [space.partition(",channels=8")[2].strip(",]") for space in study.problem.spaces] == [
        "", "groups=3", "connection=true", "connection=true,groups=3",
    ]  # fmt: skip
    assert [part.name for part in study.method] == ["darts", "rc_darts"]
