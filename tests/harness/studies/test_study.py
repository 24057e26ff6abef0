"""Study files: their plans, and their errors, each a line that names the file, the key and what was expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.records.store import Store
from budgetnas.harness.studies.plan import Plan, expand
from budgetnas.harness.studies.run import write_plan
from budgetnas.harness.studies.selection import groups_of
from budgetnas.harness.studies.study import StudyError, own_studies, read_study

GOOD = """\
name = "mine"
seeds = 3
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q10", ["params<=600k", "energy_mj<=15"]]
[[method]]
name = "random_search"
"""


def plan_of(folder: Path, text: str) -> Plan:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    study, where = read_study(str(path))
    return expand(study, where, str(path))


def test_study_expands_to_every_problem_method_and_seed(tmp_path: Path) -> None:
    text = GOOD.replace("seeds = 3", "seeds = [5, 1, 5]") + '[[method]]\nname = "local_search"\n[[method]]\nname = "rcas"\n'
    plan = plan_of(tmp_path, text)
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    limits = [resolve(tabulated, ["latency_ms@q10"]).limits, resolve(tabulated, ["params<=600k", "energy_mj<=15"]).limits]
    wanted = {(name, limit, seed) for name in ("random_search", "local_search") for limit in limits for seed in (5, 1)}
    wanted |= {("rcas", limit, 0) for limit in limits}  # deterministic, so it runs once
    assert {(trial.method, trial.limits, trial.seed) for trial in plan.trials} == wanted
    assert len(plan.trials) == len(wanted) == len(plan.labels)
    assert {(t.allowance.queries, t.allowance.seconds, t.validation, t.folder) for t in plan.trials} == {(200, None, "mean", None)}
    assert {plan.labels[trial.identity] for trial in plan.trials} == {"random_search", "local_search", "rcas"}


def test_same_method_twice_is_labelled_by_settings_or_label(tmp_path: Path) -> None:
    twice = GOOD + '[[method]]\nname = "random_search"\npatience = 50\n'
    assert set(plan_of(tmp_path, twice).labels.values()) == {"random_search (defaults)", "random_search (patience=50)"}
    assert set(plan_of(tmp_path, twice + 'label = "hasty"\n').labels.values()) == {"random_search", "hasty"}


def test_label_names_an_exact_or_repaired_ending(tmp_path: Path) -> None:
    def labels(*methods: str) -> set[str]:
        return set(plan_of(tmp_path, GOOD + "".join(f"[[method]]\nname = {text}\n" for text in methods)).labels.values())

    own = "\nlabel = 'mine'"
    assert labels("'rc_darts'", "'rc_darts'\nexact = true") == {"random_search", "rc_darts", "rc_darts, exact"}
    assert labels(f"'rc_darts'{own}\nexact = true\nrepair = true", "'dca_nas'\nrepair = true") == {
        "random_search", "mine, exact, repaired", "dca_nas, repaired",
    }  # fmt: skip
    assert labels("'rc_darts'\nlabel = 'the Exact one'\nexact = true", "'dca_nas'\nlabel = 'Repaired'\nrepair = true") == {
        "random_search", "the Exact one", "Repaired",
    }  # fmt: skip
    assert labels(f"'rc_darts'{own}\nexact = false") == {"random_search", "mine"}


TWO_SPACES = """\
name = "two"
seeds = 2
[problem]
space = ["darts[cells=5,channels=8]", "darts[cells=5,channels=8,groups=3]", "darts[channels=8,cells=5]"]
datasets = ["digits"]
limits = ["params<=42k", "params@q25"]
evaluator = "supernet"
recipe = "search-digits-cells"
[[method]]
name = "darts"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ('name = "rc_darts"\nlookup = "g.json"', "method 'rc_darts' has no setting 'lookup'; it has free_steps, "),
        (
            'name = "dca_nas"\nlookup = [["latency_ms", 1e-6, 1e-6], ["latency_ms", 2e-6, 2e-6]]',
            "'dca_nas': the look-up graph of latency_ms",
        ),
        ('name = "dca_nas"\nlookup = "g.json"', "there are no look-up graphs at"),
        (
            'name = "deff_arts"\nresource = "limited"',
            "'deff_arts': resource = 'limited' of DEff-ARTS counts the resources with an upper limit",
        ),
        ('name = "deff_arts"\nresource = "foo"', "setting 'resource' of method 'deff_arts' is 'foo'; expected one of 'paper_cycles', "),
        ('name = "darts"\nmomentum = [0.9, 1.0]', "momentum of DARTS is [0.9, 1.0]; give Adam's two betas"),
        ('name = "dca_nas"\nlearning_rate = 0', "DCA-NAS needs a learning_rate above 0"),
    ],
)
def test_impossible_search_is_refused_before_any_search(method: str, reason: str, tmp_path: Path) -> None:
    limits = 'limits = ["params>=1k"]' if "limited" in method else 'limits = ["latency_ms<=3"]'
    text = GOOD.replace('limits = ["latency_ms@q10", ["params<=600k", "energy_mj<=15"]]', limits).replace('name = "random_search"', method)
    with pytest.raises(StudyError, match=re.escape(reason)) as refused:
        plan_of(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'study.toml'}: ") and "\n" not in str(refused.value)


def test_any_error_of_check_problem_gives_one_line(tmp_path: Path) -> None:
    source = """
from dataclasses import dataclass
from typing import ClassVar
from budgetnas.harness.problem import Need

@dataclass(frozen=True)
class Objects:
    how: str = "ValueError"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def check_problem(self, problem):
        raise {"ValueError": ValueError, "KeyError": KeyError}[self.how](f"not on {problem.device}")

    def search(self, problem, evaluator, rng):
        yield from ()
"""
    (tmp_path / "objects.py").write_text(source, encoding="utf-8")
    for how, message in (
        ("ValueError", "'objects.py:Objects': not on closed-form"),
        ("KeyError", "failed: KeyError: 'not on closed-form'"),
    ):
        with pytest.raises(StudyError, match=re.escape(message)):
            plan_of(tmp_path, GOOD.replace('name = "random_search"', f'name = "objects.py:Objects"\nhow = "{how}"'))


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "\ufeff" + GOOD).study.name == "mine"


@pytest.mark.slow
def test_each_space_is_a_board_with_separately_resolved_limits(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TWO_SPACES)
    plain, grouped = plan.boards
    assert [board.costed.space.name for board in plan.boards] == ["darts[cells=5,channels=8]", "darts[cells=5,channels=8,groups=3]"]
    assert plain.bounds[0].limits == grouped.bounds[0].limits and plain.bounds[1].limits != grouped.bounds[1].limits
    wanted = {(board.costed.space.name, bounds.limits, seed) for board in plan.boards for bounds in board.bounds for seed in (0, 1)}
    assert {(trial.space, trial.limits, trial.seed) for trial in plan.trials} == wanted and len(plan.trials) == 8
    # A list of one name is the same as the name.
    alone = plan_of(tmp_path, TWO_SPACES.replace(TWO_SPACES[TWO_SPACES.index('["darts') : TWO_SPACES.index("\ndatasets")], '["darts"]'))
    assert {trial.space for trial in alone.trials} == {"darts"}


def test_every_board_has_a_context(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.create()
    write_plan(plan_of(tmp_path, TWO_SPACES), store)
    assert sorted(path.name for path in store.context.iterdir()) == [
        "darts[cells=5,channels=8,groups=3]-digits-no-device.json", "darts[cells=5,channels=8]-digits-no-device.json",
    ]  # fmt: skip


def test_selection_chooses_within_a_space(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TWO_SPACES + '[selection]\nof = 2\nrecipe = "smoke"\n')
    groups = groups_of(plan)
    assert [len(group.trials) for group in groups] == [2] * 4
    assert all(len({(trial.space, trial.limits) for trial in group.trials}) == 1 for group in groups)


def test_method_is_skipped_only_on_spaces_without_what_it_needs(tmp_path: Path) -> None:
    text = TWO_SPACES.replace('"darts[channels=8,cells=5]"', '"rcnet[positions=6]"').replace("params@q25", "params<=43k")
    plan = plan_of(tmp_path, text)
    assert plan.skipped == ("method 'darts': it needs relaxation, which the evaluator 'supernet' does not offer on rcnet[positions=6]",)
    assert {trial.space for trial in plan.trials} == {"darts[cells=5,channels=8]", "darts[cells=5,channels=8,groups=3]"}


def test_equal_limits_run_once_and_keep_both_labels(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, GOOD.replace('limits = ["latency_ms@q10", ', 'limits = ["params<=600k,energy_mj<=15", '))
    assert [bounds.label for bounds in plan.boards[0].bounds] == ["params<=600k,energy_mj<=15"]
    assert len(plan.trials) == 3


def test_unsupported_limit_is_skipped_only_on_request(tmp_path: Path, real_tables: Path) -> None:
    text = GOOD.replace('"closed-form"', '"cifar10"', 1).replace('["closed-form"]', '["raspi4", "edgegpu"]')
    with pytest.raises(
        StudyError,
        match=r"study\.toml: cifar10 on raspi4, limit .*: the device has no energy_mj; leave it out, or set problem.skip_unsupported",
    ):
        plan_of(tmp_path, text)
    plan = plan_of(tmp_path, text.replace("[problem]", "[problem]\nskip_unsupported = true"))
    assert plan.skipped == ("cifar10 on raspi4, limit params<=600k,energy_mj<=15: the device has no energy_mj",)
    assert [(board.costed.device, len(board.bounds)) for board in plan.boards] == [("raspi4", 1), ("edgegpu", 2)]


def test_method_that_needs_more_than_a_table_is_skipped_with_a_reason(tmp_path: Path) -> None:
    source = Path(__file__).parent.parent / "plugins" / "breaking.py"
    plan = plan_of(tmp_path, GOOD + f'[[method]]\nname = "{source}:AsksForMore"\n')
    assert plan.skipped == (
        f"method '{source}:AsksForMore': it needs relaxation with trained weights, which the evaluator 'table' does not offer here",
    )
    assert len(plan.trials) == 6


def test_studies_of_the_project_are_valid() -> None:
    assert "smoke" in own_studies()
    for name in own_studies():
        study, folder = read_study(name)
        assert study.name == name
        assert folder == Path.cwd()


def test_file_of_the_user_takes_precedence_over_a_study_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("smoke").write_text(GOOD)
    assert read_study("smoke")[0].name == "mine"


METHOD = 'name = "random_search"'
WRONG = [
    ('name = "mine"', "", r"name: Field required"),
    ('"mine"', '"../mine"', r"name: .* not '\.\./mine'"),
    ('"mine"', '""', r"name: "),
    ("seeds = 3", "seedz = 3", r"seedz: there is no such key; expected one of name, title, problem, method, seeds, plugin"),
    ("seeds = 3", "strategy = 3", r"strategy: there is no such key"),
    *[
        ("seeds = 3", f"seeds = {value}", r"seeds: expected how many seeds \(1 to 1000000\), or a list of seeds")
        for value in ("0", "-1", "2.0", '"3"', "true", "[]", "[-1]", "[1, -1]", "[true]", '["1"]', "1000001", "[9223372036854775808]", "{}")
    ],
    ("[problem]", "[[problem]]", r"problem: "),
    ("[problem]", "[problems]", r"problems: there is no such key"),
    (
        "[problem]",
        "[problem]\ninterval = 3",
        r"problem\.interval: there is no such key; expected one of space, datasets, devices, limits, allowance",
    ),
    ("[problem]", "[problem]\nspace = 'dart'", r"unknown space 'dart'; choose one of nasbench201"),
    ("[problem]", "[problem]\nspace = ''", r"problem\.space: "),
    *[
        ("[problem]", f"[problem]\nspace = {value}", r"problem\.space: expected the name of a space, or a list of such names, not ")
        for value in ("3", "[]", "['']", "['nasbench201', 3]", "{}")
    ],
    ("[problem]", "[problem]\nspace = ['nasbench201', 'dart']", r"unknown space 'dart'; choose one of nasbench201"),
    ("[problem]", "[problem]\nvalidation = 'best'", r"problem\.validation: Input should be 'mean' or 'seed', not 'best'"),
    ("[problem]", "[problem]\nskip_unsupported = 1", r"problem\.skip_unsupported: .* boolean, not 1"),
    ("[problem]", "[problem]\nallowance = {}", r"problem\.allowance: give queries, seconds or both"),
    ("[problem]", "[problem]\nallowance = 100", r"problem\.allowance: .* not 100"),
    (
        "[problem]",
        "[problem]\nallowance = {query = 1}",
        r"problem\.allowance\.query: there is no such key; expected one of queries, seconds",
    ),
    ("[problem]", "[problem]\nallowance = {queries = 0}", r"problem\.allowance\.queries: .* greater than or equal to 1, not 0"),
    ("[problem]", "[problem]\nallowance = {queries = 1.5}", r"problem\.allowance\.queries: .* not 1\.5"),
    ("[problem]", "[problem]\nallowance = {queries = true}", r"problem\.allowance\.queries: .* not True"),
    ("[problem]", "[problem]\nallowance = {seconds = 0}", r"problem\.allowance\.seconds: .* greater than 0"),
    ("[problem]", "[problem]\nallowance = {seconds = inf}", r"problem\.allowance\.seconds: .* finite number, not inf"),
    ("[problem]", "[problem]\nallowance = {seconds = nan}", r"problem\.allowance\.seconds: "),
    ('datasets = ["closed-form"]', "", r"problem\.datasets: Field required"),
    ('datasets = ["closed-form"]', "datasets = []", r"problem\.datasets: .* at least 1"),
    ('datasets = ["closed-form"]', 'datasets = "closed-form"', r"problem\.datasets: .* list, not 'closed-form'"),
    ('datasets = ["closed-form"]', 'datasets = ["cifar11"]', r"unknown dataset 'cifar11'; choose one of cifar10"),
    ('devices = ["closed-form"]', 'devices = ["tpu"]', r"unknown device 'tpu'; choose one of edgegpu"),
    ('devices = ["closed-form"]', 'devices = ["edgegpu"]', r"device 'edgegpu' is not known for closed-form; its table has closed-form"),
    ('devices = ["closed-form"]', "devices = [1]", r"problem\.devices\.0: .* not 1"),
    ('devices = ["closed-form"]', "", r"needs a device; name a device"),
    *[
        (
            'limits = ["latency_ms@q10", ',
            f"limits = [{value}, ",
            r"problem\.limits: expected a list of limits, or of lists of limits",
        )
        for value in ("3", "true", "[1]", '["params<=1M", 2]', "{}", "[[]]")
    ],
    ("latency_ms@q10", "latency_ms<5", r"limit 'latency_ms<5' cannot be read; write resource<=NUMBER"),
    ("latency_ms@q10", "latency@q10", r"unknown resource 'latency'; choose one of latency_ms"),
    ("latency_ms@q10", "latency_ms@q0", r"the quantile must be above 0"),
    ("latency_ms@q10", "latency_ms>=3,latency_ms<=2", r"nothing can meet"),
    (METHOD, "", r"method\.0\.name: Field required"),
    (METHOD, "name = 3", r"method\.0\.name: .* not 3"),
    (METHOD, METHOD + "\nlabel = ''", r"method\.0\.label: "),
    (METHOD, 'name = "randomsearch"', r"unknown method 'randomsearch'; choose one of darts, "),
    (METHOD, 'name = "nowhere.py:Mine"', r"there is no file .*nowhere\.py"),
    (METHOD, METHOD + "\npatienc = 3", r"method 'random_search' has no setting 'patienc'; it has patience"),
    (METHOD, METHOD + "\npatience = '3'", r"setting 'patience' of method 'random_search' is '3'; expected a whole number"),
    (METHOD, METHOD + "\npatience = 1979-05-27", r"setting 'patience' of method 'random_search' is .*; expected a whole number"),
    (
        METHOD,
        METHOD + f"\n[[method]]\n{METHOD}",
        r"two methods are called 'random_search \(defaults\)'; give each \[\[method\]\] a different label",
    ),
    (
        METHOD,
        METHOD + f"\nlabel='a'\n[[method]]\n{METHOD}\nlabel='a'\npatience=3\n[[method]]\n{METHOD}\nlabel='a'\npatience=3",
        r"two methods are called",
    ),
    (
        METHOD,
        METHOD + f"\n[[method]]\n{METHOD}\nlabel = 'again'",
        r"'random_search' and 'again' are the same method with the same settings; keep one",
    ),
    (METHOD, METHOD + f"\n[[method]]\n{METHOD}\npatience = 100000", r"are the same method with the same settings"),
    ("[[method]]", "[method]", r"method: .* list, not "),
    ("[[method]]", "[[methods]]", r"methods: there is no such key; expected one of "),
    ("[[method]]", "[plugin]\nmemory_mb = 1\n[[method]]", r"plugin\.memory_mb: .* greater than or equal to 64, not 1"),
    ("[[method]]", "[plugin]\ntimeout_seconds = inf\n[[method]]", r"plugin\.timeout_seconds: "),
    (
        "[[method]]",
        "[plugin]\ntimeout = 1\n[[method]]",
        r"plugin\.timeout: there is no such key; expected one of timeout_seconds, memory_mb",
    ),
    ("[problem]", "[problem", r"study\.toml is not TOML: .*line 3"),
    ("[problem]", "x = " + "[" * 5000 + "]" * 5000, r"study\.toml is not TOML: "),
    (GOOD, "", r"is empty; a study needs a name"),
]


@pytest.mark.parametrize(("part", "instead", "message"), WRONG)
def test_invalid_study_gives_one_line_with_file_key_and_expectation(tmp_path: Path, part: str, instead: str, message: str) -> None:
    assert part in GOOD
    with pytest.raises(StudyError, match=message) as error:
        plan_of(tmp_path, GOOD.replace(part, instead, 1))
    assert "study.toml" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600 + len(str(tmp_path))


@pytest.mark.parametrize("place", ["missing.toml", "folder", "binary", "x" * 5000])
def test_unreadable_file_gives_one_line(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("binary").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(
        StudyError, match=f"(there is no study {place[:50]}.*; give a path, or one of .*smoke)|({place[:50]}.* cannot be read: )"
    ):
        read_study(place)


KEYS = [
    "name",
    "seeds",
    "problem",
    "method",
    "plugin",
    "datasets",
    "devices",
    "limits",
    "allowance",
    "queries",
    "seconds",
    "validation",
    "label",
    "str",
    "int",
    "a b",
]
TEXTS = [
    "mine",
    "closed-form",
    "nasbench201",
    "random_search",
    "latency_ms@q10",
    "params<=1M",
    "mean",
    "",
    "\\u0000",
    "é",
    "../x",
    "x:Y",
    "x.py:Y",
]
scalars = (
    st.sampled_from(["true", "inf", "nan", "-1", "0", "1", "2.5", "1e400", "9" * 40, "1979-05-27", "07:32:00"])
    | st.sampled_from(TEXTS).map(lambda text: f'"{text}"')
)  # fmt: skip
inline = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(
            lambda table: "{" + ", ".join(f'"{key}" = {value}' for key, value in table.items()) + "}"
        )
    ),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from(range(9)), st.sampled_from(KEYS), inline), min_size=1, max_size=3), st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_study_gives_a_plan_or_one_line(tmp_path: Path, changes: list[tuple[int, str, str]], data: Any) -> None:
    lines = GOOD.split("\n")
    for place, key, value in changes:
        fate = data.draw(st.sampled_from(["insert", "replace value", "delete", "cut"]))
        if fate == "insert":
            lines.insert(place, f'"{key}" = {value}')
        elif fate == "replace value" and place < len(lines) and "=" in lines[place]:
            lines[place] = lines[place].split("=")[0] + "= " + value
        elif fate == "delete" and place < len(lines):
            del lines[place]
        elif place < len(lines):
            lines[place] = lines[place][: len(lines[place]) // 2]
    try:
        plan = plan_of(tmp_path, "\n".join(lines))
    except StudyError as error:
        assert "study.toml" in str(error)
    else:
        assert all(len(trial.identity) == 64 for trial in plan.trials[:3])
