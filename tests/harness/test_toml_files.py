from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, model_validator

from budgetnas.harness.toml_files import TomlFiles, TomlTable


class MenuError(ValueError):
    pass


class Dish(TomlTable):
    grams: int
    spices: list[str] = Field(default_factory=list)


class Menu(TomlTable):
    title: str
    first: Dish | None = None
    on: dict[str, Dish] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_dish(self) -> Menu:
        if self.title == "empty":
            raise ValueError("expected a dish")
        return self


MENUS = TomlFiles(MenuError, "menu")
KNOWN = ("lunch", "supper")


def test_a_file_becomes_a_frozen_model(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xef\xbb\xbftitle = 'caf\xc3\xa9'\r\n[on.monday]\ngrams = 3\n")  # with a byte order mark, which some editors add
    menu = MENUS.parsed("own.toml", MENUS.text(str(path), KNOWN), Menu)
    assert menu == Menu(title="café", on={"monday": Dish(grams=3)})
    with pytest.raises(ValueError, match="frozen"):
        menu.title = "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "a.toml is not TOML: Invalid value (at end of document)"),
        ("x = " + "[" * 5000, "a.toml is not TOML: "),
        ("", "a.toml: title: Field required"),
        ("title = 1", "a.toml: title: Input should be a valid string, not 1"),
        ("titel = 'x'", "a.toml: titel: there is no such key; expected one of title, first, on"),
        ("title = 'x'\n[first]\ngram = 1", "a.toml: first.gram: there is no such key; expected one of grams, spices"),
        ("title = 'x'\n[on.monday]\ngram = 1", "a.toml: on.monday.gram: there is no such key; expected one of grams, spices"),
        ("title = 'x'\n[first]\ngrams = 1.0", "a.toml: first.grams: Input should be a valid integer, not 1.0"),
        ("title = 'x'\n[first]\ngrams = 1\nspices = ['a', 2]", "a.toml: first.spices.1: Input should be a valid string, not 2"),
        ("title = 'empty'", "a.toml: menu: expected a dish"),
    ],
)
def test_the_first_mistake_is_one_line_with_its_key(text: str, message: str) -> None:
    with pytest.raises(MenuError) as raised:
        MENUS.parsed("a.toml", text, Menu)
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_a_long_value_is_cut_off() -> None:
    with pytest.raises(MenuError) as raised:
        MENUS.parsed("a.toml", f"title = {list(range(1000))}", Menu)
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing", "there is no menu missing; give the path of a TOML file, or one of lunch, supper"),
        (".", ". cannot be read: Is a directory; give a menu file, or one of lunch, supper"),
        ("binary", "binary cannot be read: it is not text; give a menu file, or one of lunch, supper"),
        ("\0", "\0 cannot be read: it is not text; give a menu file, or one of lunch, supper"),
        ("x" * 5000, f"{'x' * 5000} cannot be read: File name too long; give a menu file, or one of lunch, supper"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe")
    with pytest.raises(MenuError) as raised:
        MENUS.text(place, KNOWN)
    assert str(raised.value) == message
