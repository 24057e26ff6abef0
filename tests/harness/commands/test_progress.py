from __future__ import annotations

import re

import pytest

from budgetnas.harness.commands.progress import Amount, Bars

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def last_frame(capsys: Captured) -> list[str]:
    """Return the lines of the last frame that was drawn, without colours."""
    drawn = re.sub(r"\x1b\[(?!1A|2K)[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    return re.split(r"\x1b\[(?:1A|2K)", drawn)[-1].strip("\r\n").splitlines()


@pytest.mark.usefixtures("terminal")
def test_a_bar_shows_its_name_the_amount_done_and_a_text(capsys: Captured) -> None:
    with Bars() as bars:
        bars.show("trials", 3, 10, "2 failed")
    (line,) = last_frame(capsys)
    assert line.startswith("trials ━") and re.search(r"━  3/10 2 failed 0:00:0\d -:--:--$", line)


@pytest.mark.usefixtures("terminal")
def test_the_total_may_be_unknown_at_first(capsys: Captured) -> None:
    with Bars() as bars:
        bars.show("searches")
        assert bars.console.is_terminal
    assert re.search(r"━ 0/\?  0:00:0\d *$", last_frame(capsys)[0])


@pytest.mark.usefixtures("terminal")
def test_items_that_take_minutes_show_the_time_left(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("rich.console.monotonic", lambda: now)
    with Bars() as bars:
        for now in (0.0, 100.0, 200.0):
            bars.show("trainings", now / 100, 10)
    assert last_frame(capsys)[0].endswith(" 2/10  0:03:20 0:13:20")  # 8 more at 100 s each


@pytest.mark.usefixtures("terminal")
def test_items_found_at_the_start_do_not_count_as_speed(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("rich.console.monotonic", lambda: now)
    with Bars() as bars:
        bars.show("trials", 0, 100)
        bars.show("trials", 90, 100)
        now = 50.0
        bars.show("trials", 91, 100)
    assert last_frame(capsys)[0].endswith(" 91/100  0:00:50 0:07:30")


@pytest.mark.usefixtures("terminal")
def test_bytes_and_several_names(capsys: Captured) -> None:
    with Bars(Amount.BYTES) as bars:
        bars.show("a.bin", 1_500_000, 3_000_000)
        bars.show("[b].bin", 7, None)
        bars.show("a.bin", 3_000_000, 3_000_000)
    first, second = last_frame(capsys)
    assert first.startswith("a.bin ") and "3.0/3.0 MB" in first
    assert second.startswith("[b].bin ") and "7/? bytes" in second  # square brackets are not taken for markup


@pytest.mark.usefixtures("terminal")
def test_a_hidden_bar_is_gone(capsys: Captured) -> None:
    with Bars() as bars:
        bars.show("trials", 1, 1)
        bars.show("brief trainings", 1, 1)
        bars.hide("brief trainings")
    assert [line.split()[0] for line in last_frame(capsys)] == ["trials"]


@pytest.mark.parametrize("everywhere", [False, True])
def test_without_a_terminal_nothing_or_only_the_last_state_is_written(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, everywhere: bool
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with Bars(everywhere=everywhere) as bars:
        assert not bars.console.is_terminal
        for done in range(5):
            bars.show("trials", done, 4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == everywhere and ("4/4" in captured.err) == everywhere


@pytest.mark.usefixtures("terminal")
def test_on_a_narrow_terminal_nothing_is_cut_off(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with Bars() as bars:
        bars.show("epoch 2 of 4: loss 1.23, training 50.00 %, validation 55.00 %", 1, 4)
    lines = last_frame(capsys)
    assert lines[0].rstrip().endswith("-:--:--") and lines[-1].rstrip().endswith("55.00 %") and "…" not in "".join(lines)
