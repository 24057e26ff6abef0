"""Finding methods, and checking their settings."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from budgetnas.harness.catalogue.catalogue import FoundMethod, MethodError, announced_methods, find_method, own_methods
from budgetnas.harness.problem import Need

if TYPE_CHECKING:
    from fractions import Fraction

PLUGIN = """
    from dataclasses import dataclass
    from typing import ClassVar
    from budgetnas.harness.problem import Need

    @dataclass(frozen=True)
    class Mine:
        needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
        rate: float = 0.5

        def search(self, problem, evaluator, rng):
            yield (problem.space.at(0),)
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with its own packages `methods` and `spaces`."""
    for name in ("methods", "spaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("WHOSE = 'the user'\n")
    (tmp_path / "methods" / "mine.py").write_text(textwrap.dedent(PLUGIN) + "\nimport spaces\nassert spaces.WHOSE == 'the user'\n")
    (tmp_path / "single.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def in_a_new_process(folder: Path, *lines: str) -> str:
    code = "\n".join(
        [
            "from pathlib import Path",
            "from budgetnas.harness.catalogue.catalogue import *",
            f"folder = Path({str(folder)!r})",
            *lines,
        ]
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True, env=os.environ | {"PYTHONSAFEPATH": "1"}
    )
    return result.stdout.strip()


@pytest.mark.parametrize("reference", ["methods.mine:Mine", "methods/mine.py:Mine", "single.py:Mine", "single:Mine"])
def test_a_plugin_is_found_beside_folders_named_like_ours(repository: Path, reference: str) -> None:
    lines = (
        f"found = find_method({reference!r}, folder)",
        "print(found.plugin, found.version, found.settings({}), find_method('rcas').plugin)",
    )
    path = repository / ("single.py" if reference.startswith("single") else "methods/mine.py")
    assert in_a_new_process(repository, *lines) == f"True sha256:{hashlib.sha256(path.read_bytes()).hexdigest()} {{'rate': 0.5}} False"


def test_a_changed_source_changes_the_version(repository: Path) -> None:
    ask = "print(find_method('single.py:Mine', folder).version)"
    before = in_a_new_process(repository, ask)
    with (repository / "single.py").open("a") as file:
        file.write("\n# a remark\n")
    assert in_a_new_process(repository, ask) != before


def test_two_files_of_the_same_name_do_not_clash(repository: Path) -> None:
    other = repository / "other"
    other.mkdir()
    (other / "single.py").write_text(textwrap.dedent(PLUGIN).replace("0.5", "0.7"))
    rates = [find_method(reference, repository).settings({}) for reference in ("single.py:Mine", "other/single.py:Mine")]
    assert rates == [{"rate": 0.5}, {"rate": 0.7}]


@pytest.mark.parametrize(
    ("source", "reference", "message"),
    [
        ("x = (", "file.py:Mine", r"file\.py cannot be loaded: SyntaxError: '\(' was never closed \(file\.py, line 1\)"),
        ("raise RuntimeError('at import')", "file.py:Mine", r"file\.py cannot be loaded: RuntimeError: at import"),
        ("import sys; sys.exit(4)", "file.py:Mine", r"file\.py cannot be loaded: SystemExit: 4"),
        ("import nothing_like_it", "file.py:Mine", "cannot be loaded: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("x = 1", "file.py:Mine", r"'file\.py' has no class 'Mine'"),
        ("x = 1", "file.py:", r"'file\.py' has no class ''"),
        ("Mine = 3", "file.py:Mine", "is not a dataclass; a method is a frozen dataclass"),
        ("class Mine: pass", "file.py:Mine", "is not a dataclass"),
        ("from dataclasses import dataclass\n@dataclass\nclass Mine: pass", "file.py:Mine", "needs the class attribute `needs`"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass Mine:\n  needs = 'accuracy'",
            "file.py:Mine",
            "needs the class attribute `needs`",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass Mine:\n  needs = frozenset()",
            "file.py:Mine",
            r"has no method `search\(problem, evaluator, rng\)`",
        ),
        ("x = 1", "missing.py:Mine", r"there is no file .*missing\.py"),
        ("x = 1", "missing:Mine", "no module 'missing' can be imported from .*; install it, or write file.py:Class"),
        ("x = 1", ":Mine", "module '' cannot be imported"),
        ("import nothing_like_it", "filed:Mine", "module 'filed' cannot be imported: No module named 'nothing_like_it'"),
        ("x = 1", "nonsense", "unknown method 'nonsense'; choose one of darts, .*, or write module:Class or file.py:Class"),
    ],
)
def test_a_reference_without_a_method_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reference: str, message: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("file.py", "filed.py"):
        (tmp_path / name).write_text(source)
    monkeypatch.delitem(sys.modules, "filed", raising=False)
    with pytest.raises(MethodError, match=message):
        find_method(reference, tmp_path)


def test_a_class_without_a_source_file_is_refused(tmp_path: Path) -> None:
    make = "Mine = make_dataclass('Mine', [], namespace={'needs': frozenset({Need.ACCURACY}), 'search': lambda *_: []})"
    (tmp_path / "made.py").write_text(
        f"from dataclasses import make_dataclass\nfrom budgetnas.harness.problem import Need\n{make}\nMine.__module__ = 'nowhere'\n"
    )
    with pytest.raises(MethodError, match=r"the source of 'made\.py:Mine' cannot be read"):
        find_method("made.py:Mine", tmp_path)


def test_methods_of_installed_packages_are_found_by_entry_points(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = repository / "theirs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[budgetnas.methods]\ntheirs = single:Mine\nlost = nowhere_at_all:Mine\n")
    monkeypatch.syspath_prepend(str(repository))
    monkeypatch.delitem(sys.modules, "single", raising=False)
    assert announced_methods() == {"lost": "nowhere_at_all:Mine", "theirs": "single:Mine"}
    assert find_method("theirs", repository).plugin
    with pytest.raises(MethodError, match="no module 'nowhere_at_all'"):
        find_method("lost", repository)


def test_own_methods_are_found_by_name_and_are_not_plugins() -> None:
    assert {"random_search", "regularized_evolution", "local_search", "nsga2", "tpe", "rcas"} <= set(own_methods())
    for name in own_methods():
        found = find_method(name)
        assert (found.reference, found.plugin) == (name, False)
        assert found.version.isdigit()


@dataclass(frozen=True)
class Settings:
    """One setting of every type that a study file can express."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    count: int = 1
    rate: float = 0.5
    fast: bool = False
    name: str = "a"
    kind: Literal["one", "two"] = "one"
    maybe: float | None = None
    sizes: tuple[int, ...] = (1, 2)
    words: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    anything: Any = None
    hidden: int = field(default=3, init=False)

    def search(self, problem: Any, evaluator: Any, rng: Any) -> Any:
        """Do nothing."""


SETTINGS = FoundMethod("settings", Settings, "1", plugin=True)


def test_missing_settings_have_their_defaults() -> None:
    assert SETTINGS.settings({"count": 3}) == {
        "count": 3, "rate": 0.5, "fast": False, "name": "a", "kind": "one", "maybe": None, "sizes": (1, 2),
        "words": [], "table": {}, "anything": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate", 2), ("maybe", 3), ("maybe", 0.5), ("kind", "two"), ("fast", True), ("sizes", [3]), ("sizes", []),
     ("words", ["x"]), ("table", {"a": 1}), ("anything", [1, "x"])],
)  # fmt: skip
def test_settings_of_the_right_type_are_accepted(name: str, value: Any) -> None:
    assert SETTINGS.settings({name: value})[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", 1.0), ("count", True), ("count", "1"), ("rate", "x"), ("rate", True), ("fast", 1), ("name", 1), ("kind", "three"),
     ("kind", 1), ("maybe", "x"), ("maybe", False), ("sizes", 3), ("sizes", ["x"]), ("words", "x"), ("words", [1]), ("table", [1])],
)  # fmt: skip
def test_a_setting_of_the_wrong_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(MethodError, match=f"setting '{name}' of method 'settings' is .*; expected "):
        SETTINGS.settings({name: value})


@pytest.mark.parametrize("name", ["cuont", "needs", "hidden", "search"])
def test_an_unknown_setting_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(MethodError, match=f"method 'settings' has no setting '{name}'; it has count, rate, fast, "):
        SETTINGS.settings({name: 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_settings_that_cannot_be_part_of_an_identity_are_refused(value: Any) -> None:
    with pytest.raises(MethodError, match="setting 'anything' of method 'settings' is not a plain value"):
        SETTINGS.settings({"anything": value})


@dataclass(frozen=True)
class Picky:
    """A method that refuses some settings itself."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    count: int
    ratio: Fraction | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count must not be negative")
        if self.count == 0:
            raise KeyError("zero")

    def search(self, problem: Any, evaluator: Any, rng: Any) -> Any:
        """Do nothing."""


@pytest.mark.parametrize(
    ("given", "message"),
    [({"count": -1}, "refuses its settings: count must not be negative"), ({"count": 0}, "refuses its settings: KeyError: 'zero'"),
     ({}, "refuses its settings: .* missing 1 required positional argument: 'count'")],
)  # fmt: skip
def test_a_method_s_own_error_is_passed_on(given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        FoundMethod("picky", Picky, "1", plugin=True).settings(given)


def test_settings_are_not_checked_if_a_type_is_imported_under_type_checking() -> None:
    assert FoundMethod("picky", Picky, "1", plugin=True).settings({"count": 1}) == {"count": 1, "ratio": None}
