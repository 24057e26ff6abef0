"""The rules of imports: which folder and layer may import which, and which code may and may not need PyTorch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE_FOLDERS = ("spaces", "harness", "methods", "leaderboards")
# The modules that may import torch at the top; all others import it inside functions, if at all.
TORCH_FILES = {"network.py", "supernet.py", "operations.py", "table_relaxation.py", "supernet_relaxation.py"}
TORCH_FILES |= {"supernet_costs.py", "bilevel.py"}
# Parts of supernets: the mixed operations on a space's edges.
TORCH_FILES |= {"mixed_edges.py"}
TORCH_FOLDERS = {ROOT / "harness" / "training", ROOT / "harness" / "digits201", ROOT / "spaces" / "supernets"}
TORCH_FOLDERS |= {ROOT / "harness" / "processes"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every module that a file imports anywhere, with its statement; for `from x import y` both x and x.y."""
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


def folders_of(path: Path) -> set[str]:
    return {name.split(".")[1] for _, name in imported(path) if name.startswith("budgetnas.") and name.split(".")[1] in CODE_FOLDERS}


def may_use_torch(path: Path) -> bool:
    return path.name in TORCH_FILES or any(folder in path.parents for folder in TORCH_FOLDERS)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Imports go one way. A package may import those of earlier layers, never another one of its own layer or of a later one. A folder of code
# may import only the folders of code named here. Methods are found by name at run time, so nothing imports them.
FOLDERS = {"spaces": set(), "methods": {"harness", "spaces"}, "harness": {"spaces"}, "leaderboards": set()}
MAY_IMPORT = {"harness.commands": {"leaderboards"}, "harness.catalogue": {"methods"}}  # commands write pages, the catalogue lists methods
LAYERS = {
    "harness": [
        {"problem", "processes", "toml_files"},
        {"costs", "records"},
        {"catalogue", "training"},
        {"evaluators", "comparison", "digits201"},
        {"trials"},
        {"lookup"},
        {"studies"},
        {"commands"},
        {"cli"},
    ],
    "leaderboards": [{"shared"}, {"comparison"}, {"boards"}, {"searches"}, {"site"}],
}
MODULES = {
    ".".join(["budgetnas", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sources(*CODE_FOLDERS)
}


def test_the_rules_apply_to_something() -> None:
    assert all(len(sources(folder)) > 5 for folder in CODE_FOLDERS)
    assert folders_of(ROOT / "harness" / "studies" / "plan.py") == {"harness", "spaces"}
    packages = {path.relative_to(ROOT / "harness").with_suffix("").parts[0] for path in sources("harness")} - {"__init__"}
    assert packages | {"toml_files"} == set().union(*LAYERS["harness"])
    assert sum(len(imported_modules(path)) for path in MODULES.values()) > 500


def imported_modules(path: Path) -> dict[str, int]:
    """Return the project's modules that a file imports anywhere, also under TYPE_CHECKING, each with the line of the import."""
    found: dict[str, int] = {}
    for node, name in imported(path):
        if name in MODULES and MODULES[name] != path:
            found.setdefault(name, node.lineno)
    # `from x.y import z` with a module z adds both x.y and x.y.z; the package x.y is not meant then.
    return {
        name: line
        for name, line in found.items()
        if not (MODULES[name].name == "__init__.py" and any(other.startswith(f"{name}.") for other in found))
    }


def place_of(module: str) -> tuple[str, str]:
    """Return the folder of code and the package of a module, such as ('harness', 'costs')."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else ""


def goes_up(folder: str, package: str, other: str) -> bool:
    """Return whether `other` is in the layer of `package` or in a later one; the folder's own __init__ is below all layers."""
    layers = {name: number for number, packages in enumerate(LAYERS[folder]) for name in packages}
    return layers.get(other, -1) >= layers.get(package, -1)


def objections(module: str) -> list[str]:
    """Return the forbidden imports of a module, each as a line with both files and the rule."""
    path = MODULES[module]
    folder, package = place_of(module)
    found = []
    for other, line in imported_modules(path).items():
        other_folder, other_package = place_of(other)
        where = f"{named(path)}:{line} imports {named(MODULES[other])}"
        allowed = FOLDERS[folder] | MAY_IMPORT.get(f"{folder}.{package}", set())
        if other_folder not in allowed | {folder, ""}:
            found.append(f"{where}: {folder}/ may import {', '.join(sorted(allowed)) or 'no other folder of code'}")
        elif folder == other_folder and folder in LAYERS and package != other_package and goes_up(folder, package, other_package):
            order = " <- ".join(", ".join(sorted(packages)) for packages in LAYERS[folder])
            found.append(f"{where}: imports go one way in {folder}/: {order}")
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    if place_of(module)[0]:
        assert objections(module) == []


def test_there_is_no_circle_of_imports() -> None:
    imports = {module: set(imported_modules(path)) for module, path in MODULES.items()}
    for module in MODULES:
        came_from = dict.fromkeys(imports[module], module)
        reached = list(imports[module])
        while reached:
            each = reached.pop()
            assert each != module, f"a circle of imports: {' <- '.join(circle(came_from, module))}: move what both need into a third module"
            for other in imports[each]:
                if other not in came_from:
                    came_from[other] = each
                    reached.append(other)


def circle(came_from: dict[str, str], module: str) -> list[str]:
    """Return the files of a circle, from a module back to itself."""
    path = [module, came_from[module]]
    while path[-1] != module:
        path.append(came_from[path[-1]])
    return [named(MODULES[each]) for each in path]


def test_a_forbidden_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"budgetnas.harness.trials.crew": 3, "budgetnas.leaderboards.shared.tables": 4}
    monkeypatch.setitem(globals(), "imported_modules", lambda path: wrong)
    upward, across = objections("budgetnas.harness.costs.limits")
    assert upward.startswith("harness/costs/limits.py:3 imports harness/trials/crew.py: imports go one way in harness/: problem, processes")
    assert across == "harness/costs/limits.py:4 imports leaderboards/shared/tables.py: harness/ may import spaces"


@pytest.mark.parametrize("path", sources("methods"), ids=named)
def test_methods_import_only_the_problem_and_the_space(path: Path) -> None:
    modules = {name for node, name in imported(path) if isinstance(node, ast.ImportFrom) and name.startswith("budgetnas")}
    modules |= {name for node, name in imported(path) if isinstance(node, ast.Import) and name.split(".")[0] == "budgetnas"}
    allowed = ("budgetnas.harness.problem", "budgetnas.spaces.space")
    assert all(name in allowed or name.startswith(tuple(f"{module}." for module in allowed)) for name in modules)


@pytest.mark.parametrize("path", sources("methods"), ids=named)
def test_a_method_is_one_file_with_its_name(path: Path) -> None:
    assert path.parent == ROOT / "methods"
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    methods = [
        node.name.lower() for node in classes if any(isinstance(part, ast.FunctionDef) and part.name == "search" for part in node.body)
    ]
    assert methods == ([] if path.name == "__init__.py" else [path.stem.replace("_", "")])


@pytest.mark.parametrize("path", [*sources(*CODE_FOLDERS), *sorted((ROOT / "tests").rglob("*.py"))], ids=named)
def test_nothing_imports_a_folder_of_code_by_its_bare_name(path: Path) -> None:
    if path.is_relative_to(ROOT / "tests" / "harness" / "plugins"):
        return
    bare = [
        name
        for node, name in imported(path)
        if name.split(".")[0] in CODE_FOLDERS and not (isinstance(node, ast.ImportFrom) and node.level)
    ]
    assert bare == []


@pytest.mark.parametrize("path", sources(*CODE_FOLDERS), ids=named)
def test_only_some_modules_import_torch_at_the_top(path: Path) -> None:
    outside_functions = [
        name
        for statement in statements_outside_functions(ast.parse(path.read_text()).body)
        for name in names_of(statement)
        if name.split(".")[0] in ("torch", "torchvision")
    ]
    assert not outside_functions or may_use_torch(path)


def statements_outside_functions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, so not those under `if TYPE_CHECKING`."""
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
    folders = {path.parent for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert [named(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_package_folder_holds_links_to_the_folders_of_code() -> None:
    package = ROOT / "src" / "budgetnas"
    assert {path.name for path in package.iterdir()} - {"__pycache__"} == {"__init__.py", "py.typed", *CODE_FOLDERS}
    assert all((package / folder).readlink() == Path("..") / ".." / folder for folder in CODE_FOLDERS)
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert set(included) == {*CODE_FOLDERS, "src/budgetnas/__init__.py", "src/budgetnas/py.typed"}


TORCH = ("torch", "torchvision")
# Needed by pages, two methods and the drawings of look-up graphs; a search and its records need none of them.
PAGES = ("pandas", "matplotlib", "moocore", "optuna", "pymoo", "scikit_posthocs", "statsmodels")
BLOCKER = """
import importlib.metadata
import sys

NAMES = {names}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NAMES:
            raise ModuleNotFoundError(f"No module named '{{name}}' (blocked)", name=name)

def distribution(name, found=importlib.metadata.distribution):
    if name.replace("-", "_") in NAMES:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

sys.meta_path.insert(0, Blocked())
importlib.metadata.distribution = distribution
"""
COMMAND = """
import sys
from budgetnas.harness.cli import main
try:
    main()
finally:
    assert not set(sys.modules) & set({names}), sorted(sys.modules)
"""
STUDY = """
name = "small"
seeds = 2
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q50", "latency_ms@q10"]
allowance = { queries = 15 }
"""


def without(names: Sequence[str], folder: Path, *arguments: str, code: str = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run a command as if packages were not installed; a sitecustomize blocks them, also in worker processes."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(BLOCKER.format(names=names))
    paths = os.pathsep.join([str(folder / "site"), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    environment = os.environ | {"PYTHONPATH": paths, "BUDGETNAS_DATA": str(folder / "no-data"), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", code.format(names=names), *arguments]
    return subprocess.run(program, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*TORCH, *PAGES])
def test_the_packages_are_really_blocked(tmp_path: Path, name: str) -> None:
    assert "(blocked)" in without((name,), tmp_path, code=f"import {name}").stderr
    assert "PackageNotFoundError" in without((name,), tmp_path, code=f"import importlib.metadata as m; m.version('{name}')").stderr


def test_help_needs_no_torch_and_no_heavy_library(tmp_path: Path) -> None:
    heavy = (*TORCH, *PAGES, "scipy", "pyarrow")
    assert "leaderboard" in output(without(heavy, tmp_path, "--help"))


@pytest.mark.slow
def test_a_tabular_study_and_its_leaderboard_run_without_torch(tmp_path: Path) -> None:
    methods = "".join(f'[[method]]\nname = "{path.stem}"\n' for path in sources("methods") if path.name != "__init__.py")
    (tmp_path / "small.toml").write_text(STUDY + methods)
    assert "failed" not in output(without(TORCH, tmp_path, "run", "small.toml", "--out", "out"))
    assert "begin with" in output(without(TORCH, tmp_path, "leaderboard", "out"))
    assert list((tmp_path / "out" / "leaderboards").rglob("*.md"))
    output(without(TORCH, tmp_path, "list", "methods"))
    assert "keeps the contract" in output(without(TORCH, tmp_path, "check", "local_search"))


@pytest.mark.slow
def test_queries_and_a_study_need_no_package_that_only_pages_need(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY + '[[method]]\nname = "random_search"\n')
    done = without(PAGES, tmp_path, "run", "small.toml", "--out", "out", "--workers", "2")
    assert "4 trials" in output(done) and "failed" not in done.stdout
    assert "accuracy" in output(without(PAGES, tmp_path, "query", "nasbench201", "0", "--dataset", "digits201"))
    assert "feasible" in output(without(PAGES, tmp_path, "oracle", "nasbench201", "--dataset", "digits201", "--limit", "params<=600k"))
    assert "keeps the contract" in output(without(PAGES, tmp_path, "check", "random_search"))
