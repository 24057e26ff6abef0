"""The rules of the house: which room may import which, who may import torch, and that nobody needs it who does not have to."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("spaces", "harness", "methods", "leaderboards")
# The modules that may import torch as they are imported; everybody else does so inside functions, if at all.
TORCH_FILES = {"network.py", "supernet.py", "operations.py", "table_relaxation.py", "supernet_relaxation.py"}
TORCH_FILES |= {"supernet_costs.py", "bilevel.py"}
# What supernets are made of has files of its own: the steps of mixtures, and the operations on a space's edges.
TORCH_FILES |= {"mixed_edges.py"}
TORCH_FOLDERS = {ROOT / "harness" / "training", ROOT / "harness" / "digits201", ROOT / "spaces" / "supernets"}
TORCH_FOLDERS |= {ROOT / "harness" / "processes"}


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every module that a file imports, wherever in it; of `from x import y` both x and x.y."""
    package = ".".join(["budgetnas", *path.relative_to(ROOT).parent.parts])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])])
            yield node, base
            for alias in node.names:
                yield node, f"{base}.{alias.name}"


def rooms_of(path: Path) -> set[str]:
    return {name.split(".")[1] for _, name in imported(path) if name.startswith("budgetnas.") and name.split(".")[1] in ROOMS}


def may_use_torch(path: Path) -> bool:
    return path.name in TORCH_FILES or any(folder in path.parents for folder in TORCH_FOLDERS)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_rules_are_applied_to_something() -> None:
    assert all(len(sources(room)) > 5 for room in ROOMS)
    assert rooms_of(ROOT / "harness" / "records" / "trial.py") == {"harness", "spaces"}


@pytest.mark.parametrize("path", sources("spaces"), ids=named)
def test_spaces_import_no_other_room(path: Path) -> None:
    assert rooms_of(path) <= {"spaces"}


@pytest.mark.parametrize("path", sources("leaderboards"), ids=named)
def test_leaderboards_import_no_other_room(path: Path) -> None:
    assert rooms_of(path) <= {"leaderboards"}


@pytest.mark.parametrize("path", sources("methods"), ids=named)
def test_methods_import_the_problem_and_the_space_and_nothing_else_of_ours(path: Path) -> None:
    modules = {name for node, name in imported(path) if isinstance(node, ast.ImportFrom) and name.startswith("budgetnas")}
    modules |= {name for node, name in imported(path) if isinstance(node, ast.Import) and name.split(".")[0] == "budgetnas"}
    allowed = ("budgetnas.harness.problem", "budgetnas.spaces.space")
    assert all(name in allowed or name.startswith(tuple(f"{module}." for module in allowed)) for name in modules)


@pytest.mark.parametrize("path", sources("methods"), ids=named)
def test_a_method_is_one_file_and_the_file_is_named_after_it(path: Path) -> None:
    assert path.parent == ROOT / "methods"
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    methods = [
        node.name.lower() for node in classes if any(isinstance(part, ast.FunctionDef) and part.name == "search" for part in node.body)
    ]
    assert methods == ([] if path.name == "__init__.py" else [path.stem.replace("_", "")])


@pytest.mark.parametrize("path", [*sources(*ROOMS), *sorted((ROOT / "tests").rglob("*.py"))], ids=named)
def test_nobody_imports_a_room_by_its_bare_name(path: Path) -> None:
    if path.is_relative_to(ROOT / "tests" / "harness" / "plugins"):
        return
    bare = [name for node, name in imported(path) if name.split(".")[0] in ROOMS and not (isinstance(node, ast.ImportFrom) and node.level)]
    assert bare == []


@pytest.mark.parametrize("path", sources(*ROOMS), ids=named)
def test_only_the_modules_meant_for_it_import_torch(path: Path) -> None:
    outside_functions = [
        name
        for statement in statements_outside_functions(ast.parse(path.read_text()).body)
        for name in names_of(statement)
        if name.split(".")[0] in ("torch", "torchvision")
    ]
    assert not outside_functions or may_use_torch(path)


def statements_outside_functions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported; what is under `if TYPE_CHECKING` does not."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            continue
        yield node
        for inner in ("body", "orelse", "finalbody"):
            yield from statements_outside_functions(getattr(node, inner, []))


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert [named(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_package_folder_holds_links_to_the_folders_of_code() -> None:
    package = ROOT / "src" / "budgetnas"
    assert {path.name for path in package.iterdir()} - {"__pycache__"} == {"__init__.py", "py.typed", *ROOMS}
    assert all((package / room).readlink() == Path("..") / ".." / room for room in ROOMS)
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert set(included) == {*ROOMS, "src/budgetnas/__init__.py", "src/budgetnas/py.typed"}


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"No module named '{name}' (blocked)", name=name)

sys.meta_path.insert(0, Blocked())
"""
COMMAND = BLOCKED + "from budgetnas.harness.cli import main\ntry:\n    main()\nfinally:\n    assert 'torch' not in sys.modules\n"
SITE = BLOCKED  # as sitecustomize, so that the worker processes of a run are without torch too
STUDY = """
name = "small"
seeds = 2
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q50", "latency_ms@q10"]
allowance = { queries = 15 }
"""


def without_torch(folder: Path, *arguments: str) -> str:
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    paths = os.pathsep.join([str(folder / "site"), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    environment = os.environ | {"PYTHONPATH": paths, "BUDGETNAS_DATA": str(folder / "no-data"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_torch_is_really_blocked(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", BLOCKED + "import torch"], capture_output=True, text=True, check=False)
    assert "(blocked)" in result.stderr


def test_help_needs_no_torch_and_no_heavy_library(tmp_path: Path) -> None:
    heavy = ("torch", "pandas", "scipy", "matplotlib", "pymoo", "optuna", "pyarrow")
    lines = ("import sys", "sys.argv = ['budgetnas', '--help']", "from budgetnas.harness.cli import main")
    code = "\n".join([*lines, "try:", "    main()", "finally:", f"    print(sorted(set(sys.modules) & set({heavy})))"])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "leaderboard" in without_torch(tmp_path, "--help")


@pytest.mark.slow
def test_a_tabular_study_and_its_leaderboard_run_without_torch(tmp_path: Path) -> None:
    methods = "".join(f'[[method]]\nname = "{path.stem}"\n' for path in sources("methods") if path.name != "__init__.py")
    (tmp_path / "small.toml").write_text(STUDY + methods)
    assert "failed" not in without_torch(tmp_path, "run", "small.toml", "--out", "out")
    assert "begin with" in without_torch(tmp_path, "leaderboard", "out")
    assert list((tmp_path / "out" / "leaderboards").rglob("*.md"))
    without_torch(tmp_path, "list", "methods")
    assert "keeps the contract" in without_torch(tmp_path, "check", "local_search")
