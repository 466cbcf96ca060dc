"""What a search shows while it runs."""

import io
import re

import pytest
from rich.console import Console

from keras_share import SharingPattern
from keras_share.search.display import Display
from keras_share.search.project.record import TrialRecord
from keras_share.search.reporting.formats import format_bytes, format_seconds

ONE = {"val_accuracy": "max"}


def record(number, score=0.941, seconds=8.4, name="sharing", size=31949, **kwargs):
    facts = {
        "status": "COMPLETED" if score is not None else "FAILED",
        "patterns": {name: SharingPattern("ABAB")},
        "metrics": {} if score is None else {"val_accuracy": score},
        "measures": {"exported_bytes": size},
        **kwargs,
    }
    return TrialRecord(trial_id=f"{number:>02}", score=score, seconds=seconds, **facts)


def test_line_of_a_trial(capsys):
    display = Display(ONE, 2, (record(0), record(1)), total=12)
    display.ended(record(2))
    assert capsys.readouterr().out == (
        "trial 3/12  ABAB  2 groups  val_accuracy 0.941  31.9 kB  8.4 s  "
        "about 76 s left\n"
    )


def test_line_with_little_known(capsys):
    display = Display(ONE, 2)
    display.ended(record(0, None, 0.2, patterns={}, measures={}))
    display.ended(record(1, patterns={"sharing": SharingPattern("AAAA")}))
    assert capsys.readouterr().out.splitlines() == [
        "trial 1/?  FAILED  0.2 s",
        "trial 2/?  AAAA  1 group  val_accuracy 0.941  31.9 kB  8.4 s",
    ]


def test_long_lines_are_not_wrapped_and_text_is_not_markup(capsys):
    Display(ONE, 2, total=3).ended(record(0, name="[red]" + "A" * 200))
    assert "[red]" + "A" * 200 in capsys.readouterr().out.splitlines()[0]


def test_time_left_counts_finished_trials_only():
    display = Display(ONE, 0, (record(0, None, 0.1), record(1, seconds=10)), total=4)
    assert display.seconds_left() == 20
    display.ended(record(2, seconds=20))
    assert display.seconds_left() == 15
    assert Display(ONE, 0, (record(0),)).seconds_left() is None
    assert Display(ONE, 0, (record(0, None),), total=3).seconds_left() is None


@pytest.mark.parametrize(("direction", "expected"), [("max", "0.9"), ("min", "0.1")])
def test_best(direction, expected):
    out, console = on_terminal()
    rows = tuple(record(i, score) for i, score in enumerate([None, 0.9, 0.1, 0.5]))
    with Display({"a": direction}, 1, rows, 9, console):
        pass
    assert f"best  ABAB  2 groups  a {expected}" in out.getvalue()


def test_time_left_is_shared_by_the_workers():
    # The median: one trial that waited for a laptop's lid to open tells nothing.
    seconds = (10, 12, 4000)
    rows = [record(number, seconds=time) for number, time in enumerate(seconds)]
    display = Display(ONE, 0, tuple(rows), total=11)
    assert display.seconds_left() == 8 * 12
    for worker in ("a", "b"):
        display.runs("trial 03", worker=worker)
    assert display.seconds_left() == 8 * 12 / 2
    display.rests("a")  # a moment without a trial
    assert (display.seconds_left(), display.running) == (8 * 12 / 2, {"b"})


def on_terminal():
    out = io.StringIO()
    return out, Console(
        file=out, force_terminal=True, width=100, color_system=None, height=20
    )


def test_bars():
    out, console = on_terminal()
    with Display(ONE, 1, (record(9),), 4, console) as display:
        display.runs("trial 1  [x]AAB", 2, 6)
        display.runs("trial 2", worker="node-7")
        display.ended(record(1, 0.95, name="[b]BA"))
        display._bars.refresh()
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r━╸╺]", "", out.getvalue())
        shown = [" ".join(line.split()) for line in plain.split("\n")]
    assert any("trial 1 [x]AAB" in line and "2/6 epochs" in line for line in shown)
    assert any("node-7 trial 2" in line for line in shown)
    assert any("best [b]BA=ABAB" in line and "2/4" in line for line in shown)
    assert any("trial 2/4 [b]BA=ABAB" in line for line in shown)
    # The terminal is given back, with the trials that are done.
    assert out.getvalue().rstrip().endswith("\x1b[?25h")
    assert "node-7" not in out.getvalue().split("best")[-1]


def test_bars_are_for_terminals(capsys):
    for verbose in (0, 2):
        _, console = on_terminal()
        assert Display(ONE, verbose, console=console)._bars.disable
    assert Display(ONE, "auto")._bars.disable
    with Display(ONE, "auto") as display:
        display.runs("trial 1")
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=r"`verbose` must be 'auto', 0.*verbose=3"):
        Display(ONE, 3)


def test_units():
    assert [format_bytes(b) for b in (100, 31949, 3_000_000)] == [
        *("0.1 kB", "31.9 kB", "3.00 MB")
    ]
    assert [format_seconds(s) for s in (0.25, 9.96, 72.4, 130, 7290)] == [
        *("0.2 s", "10.0 s", "72 s", "2 min", "2 h 2 min")
    ]
