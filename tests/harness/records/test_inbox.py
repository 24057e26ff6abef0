"""The inbox: a file that holds the trial's record is taken; any other content is ignored and does no harm."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.problem import Allowance, Limit
from budgetnas.harness.records import database, inbox
from budgetnas.harness.records.store import Row, RunError, Store
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.trials.conduct import failed_record
from budgetnas.harness.trials.crew import Confinement, run_trials

MakeRow = Callable[..., Row]


def put(root: Path, identity: str, content: bytes) -> Path:
    path = root / inbox.FOLDER / identity
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def header(row: Row, **changes: Any) -> bytes:
    values = {"status": row.status, "sha256": row.sha256, "timing": row.timing} | changes
    return json.dumps({name: value for name, value in values.items() if value is not ...}).encode() + b"\n"


@pytest.mark.parametrize("status", ["ok", "failed"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_row_is_taken_once(tmp_path: Path, make_row: MakeRow, status: str, size: int) -> None:
    row = make_row(3, size, status=status)
    inbox.leave(tmp_path, row)
    assert inbox.take(tmp_path, row.identity) == row
    assert inbox.take(tmp_path, row.identity) is None
    assert list((tmp_path / inbox.FOLDER).iterdir()) == []


def test_missing_row_is_none(tmp_path: Path) -> None:
    assert inbox.take(tmp_path, "0" * 64) is None


def test_unwritable_inbox_gives_one_line(tmp_path: Path, make_row: MakeRow) -> None:
    (tmp_path / inbox.FOLDER).write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write .*inbox/[0-9a-f]{64}: File exists; make room or choose another folder"):
        inbox.leave(tmp_path, make_row(0))


ROW_CHANGES: dict[str, Any] = {
    "another sha256": {"sha256": "0" * 64},
    "no sha256": {"sha256": ...},
    "a sha256 that is a number": {"sha256": 5},
    "another status": {"status": "failed"},
    "an unknown status": {"status": "fine"},
    "a status that is a list": {"status": ["ok"]},
    "no timing": {"timing": ...},
    "a timing that is not a text": {"timing": {"trial_seconds": 1}},
    "a timing that is not JSON": {"timing": "{"},
    "a timing that is a list": {"timing": "[]"},
    "a timing without an end": {"timing": "[" * 100_000},
    "a timing with a lone surrogate": {"timing": '{"a": "\udc80"}'},
    "a timing with a surrogate in escapes": {"timing": '{"a": "\\udc80"}'},
    "a timing that is not a number": {"timing": '{"a": NaN}'},
}


@pytest.mark.parametrize("change", ROW_CHANGES)
def test_wrong_header_is_ignored(tmp_path: Path, make_row: MakeRow, change: str) -> None:
    row = make_row(0)
    path = put(tmp_path, row.identity, header(row, **ROW_CHANGES[change]) + row.content)
    assert inbox.take(tmp_path, row.identity) is None
    assert not path.exists()


def hostile(row: Row, other: Row) -> dict[str, bytes]:
    bomb = bytes(database.LARGEST_RECORD + 1)
    deep = b"[" * 200_000 + b"]" * 200_000
    return {
        "nothing": b"",
        "a line": b"\n",
        "no header": row.content,
        "only a header": header(row),
        "JSON of another shape": b"[1, 2, 3]\n" + row.content,
        "a number": b"5\n" + row.content,
        "deep JSON as header": deep + b"\n" + row.content,
        "no JSON": b"\xff\xfe{status}\n" + row.content,
        "no zlib": header(row) + row.json(),
        "cut off": header(row) + row.content[:-20],
        "of another trial": header(other) + other.content,
        "no record": header(row, sha256=database.hashlib.sha256(b"5").hexdigest()) + zlib.compress(b"5"),
        "deep JSON": header(row, sha256=database.hashlib.sha256(deep).hexdigest()) + zlib.compress(deep),
        "a zip bomb": header(row, sha256=database.hashlib.sha256(bomb).hexdigest()) + zlib.compress(bomb),
        "a pickle": b"cos\nsystem\n(S'touch hacked'\ntR.",
    }


@pytest.mark.slow
def test_wrong_content_is_ignored(tmp_path: Path, make_row: MakeRow) -> None:
    row = make_row(0)
    for name, content in hostile(row, make_row(1)).items():
        path = put(tmp_path, row.identity, content)
        assert inbox.take(tmp_path, row.identity) is None, name
        assert not path.exists(), name


@given(place=st.integers(0, 10**6), new=st.binary(min_size=1, max_size=4))
def test_changed_bytes_are_ignored_or_change_no_record(
    tmp_path_factory: pytest.TempPathFactory, make_row: MakeRow, place: int, new: bytes
) -> None:
    root, row = tmp_path_factory.getbasetemp(), make_row(5)
    content = header(row) + row.content
    place %= len(content)
    put(root, row.identity, content[:place] + new + content[place + len(new) :])
    found = inbox.take(root, row.identity)
    assert found is None or (found.record() == row.record() and isinstance(json.loads(found.timing), dict))


def test_file_that_is_too_large_is_not_read(tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_row(0)
    content = header(row) + row.content
    monkeypatch.setattr(inbox, "LARGEST_BYTES", len(content))
    put(tmp_path, row.identity, content)
    assert inbox.take(tmp_path, row.identity) == row
    path = put(tmp_path, row.identity, content + b"x")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    assert inbox.take(tmp_path, row.identity) is None and not path.exists()


def test_anything_but_a_file_is_ignored(tmp_path: Path, make_row: MakeRow) -> None:
    row, other = make_row(0), make_row(1)
    left = put(tmp_path, other.identity, header(other) + other.content)
    path = tmp_path / inbox.FOLDER / row.identity
    for make in (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(left),
        lambda: path.symlink_to(path),
        lambda: path.symlink_to(tmp_path / "nowhere"),
    ):
        make()
        assert inbox.take(tmp_path, row.identity) is None
        assert not path.is_symlink() and not path.exists()
    path.mkdir()
    (path / "inside").touch()
    assert inbox.take(tmp_path, row.identity) is None
    assert inbox.take(tmp_path, other.identity) == other


def test_missing_inbox_holds_nothing(tmp_path: Path, make_row: MakeRow) -> None:
    folder = tmp_path / inbox.FOLDER
    for make in (folder.touch, lambda: folder.symlink_to("/dev/null"), lambda: folder.symlink_to(folder)):
        make()
        assert inbox.take(tmp_path, make_row(0).identity) is None
        folder.unlink()


PLUGIN = """
import json, os, shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from budgetnas.harness.problem import Need
from budgetnas.spaces.space import sample

@dataclass(frozen=True)
class Hostile:
    needs: ClassVar[frozenset[Need]] = frozenset({{Need.ACCURACY}})
    kind: str = ""

    def search(self, problem, evaluator, rng):
        inbox = Path({root!r}) / "inbox"
        mine = inbox / json.loads(Path({root!r}, "identities.json").read_text())[self.kind]
        if self.kind == "folder":
            (mine / "deep").mkdir(parents=True)
        elif self.kind == "huge":
            with mine.open("wb") as file:
                file.truncate(2**40)
        elif self.kind == "link":
            mine.symlink_to("/dev/zero")
        elif self.kind == "pipe":
            os.mkfifo(mine)
        elif self.kind == "gone":
            shutil.rmtree(inbox)
        elif self.kind == "no folder":
            shutil.rmtree(inbox)
            inbox.touch()
        elif self.kind != "good":
            mine.write_bytes((Path({root!r}) / "hostile" / self.kind).read_bytes())
        if self.kind != "good":
            os._exit(0)
        evaluator.accuracy(arch := sample(problem.space, rng))
        yield (arch,)
"""


@pytest.mark.slow
def test_plugin_that_writes_into_the_inbox_fails_alone(tmp_path: Path, make_row: MakeRow) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN.format(root=str(tmp_path)))
    (tmp_path / "hostile").mkdir()
    contents = hostile(make_row(0), make_row(1))
    for name, content in contents.items():
        (tmp_path / "hostile" / name).write_bytes(content)
    found = find_method("plugin.py:Hostile", tmp_path)
    trials = {
        kind: Trial(
            space="nasbench201", dataset="closed-form", device=None, limits=(Limit("params", upper=1e6),), allowance=Allowance(5),
            validation="mean", method=found.reference, settings=(("kind", kind),), version=found.version,
            table=tabulated_space_of("nasbench201", "closed-form", None).checksum, seed=0, folder=tmp_path,
        )
        for kind in [*contents, "folder", "huge", "link", "pipe", "gone", "good", "no folder"]
    }  # fmt: skip
    (tmp_path / "identities.json").write_text(json.dumps({kind: trial.identity for kind, trial in trials.items()}))
    store, reported = Store(tmp_path), dict[str, bool]()
    store.create()
    run_trials(list(trials.values()), store, 1, Confinement(120.0, 1024), lambda trial, ok: reported.update({trial.identity: ok}))
    for kind, trial in trials.items():
        record = store.get(trial.identity)
        assert reported[trial.identity] == (kind == "good"), kind
        if kind != "good":
            assert record["failure"] == "its process ended by itself with exit code 0", kind
            assert record == json.loads(Row.of(failed_record(trial, record["failure"])).json())
