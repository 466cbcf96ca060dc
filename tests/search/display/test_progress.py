"""What a search prints."""

import io
import re

import pytest
from rich.console import Console

from keras_share import SharingPattern
from keras_share.search.display.live import LiveProgress, display
from keras_share.search.display.progress import (
    PlainProgress,
    RunningTrial,
    SilentProgress,
)
from keras_share.search.project.record import TrialRecord, best
from keras_share.search.reporting.formats import format_bytes, format_seconds


def record(number, score=0.941, seconds=8.4, name="sharing", **kwargs):
    facts = {
        "status": "COMPLETED" if score is not None else "FAILED",
        "objectives": {"val_accuracy": "max"},
        "patterns": {name: SharingPattern("ABAB")},
        "measures": {"exported_bytes": 31949},
        "parameters": 100,
        **kwargs,
    }
    return TrialRecord(trial_id=f"{number:>02}", score=score, seconds=seconds, **facts)


def test_line_of_a_trial(capsys):
    progress = PlainProgress((record(0), record(1)), total=12)
    progress.on_end(record(2))
    assert capsys.readouterr().out == (
        "trial 3/12  ABAB  2 groups  val_accuracy 0.941  31.2 KB  8.4 s  "
        "about 76 s left\n"
    )


def test_line_with_little_known(capsys):
    progress = PlainProgress()
    progress.on_end(record(0, None, 0.2, patterns={}, measures={}))
    progress.on_end(record(1, patterns={"sharing": SharingPattern("AAAA")}))
    assert capsys.readouterr().out.splitlines() == [
        "trial 1/?  FAILED  0.2 s",
        "trial 2/?  AAAA  1 group  val_accuracy 0.941  31.2 KB  8.4 s",
    ]


def test_long_lines_are_not_wrapped_and_text_is_not_markup(capsys):
    progress = PlainProgress(total=3)
    progress.on_end(record(0, name="[red]" + "A" * 200))
    assert "[red]" + "A" * 200 in capsys.readouterr().out.splitlines()[0]


def test_time_left_counts_finished_trials_only():
    progress = SilentProgress((record(0, None, 0.1), record(1, seconds=10)), total=4)
    assert progress.seconds_left() == 20
    progress.on_end(record(2, seconds=20))
    assert progress.seconds_left() == 15
    progress.on_end(record(2, seconds=30))  # a retry replaces its first attempt
    assert progress.seconds_left() == 20
    assert SilentProgress((record(0),)).seconds_left() is None
    assert SilentProgress((record(0, None),), total=3).seconds_left() is None


@pytest.mark.parametrize("direction, expected", [("max", 0.9), ("min", 0.1)])
def test_best(direction, expected):
    rows = [
        record(i, s, objectives={"a": direction})
        for i, s in enumerate([None, 0.9, 0.1])
    ]
    assert best(rows).score == expected
    assert best([]) is None


def test_time_left_is_shared_by_the_workers():
    # The median: one trial that waited for a laptop's lid to open tells nothing.
    seconds = (10, 12, 4000)
    rows = [record(number, seconds=time) for number, time in enumerate(seconds)]
    progress = SilentProgress(tuple(rows), total=11)
    assert progress.seconds_left() == 8 * 12
    for worker in ("a", "b"):
        progress.on_trial("03", worker)
        progress.on_trial(f"03{worker}", worker)
    assert progress.seconds_left() == 8 * 12 / 2
    progress.on_end(record("03a", seconds=12))  # a moment without a trial
    assert progress.seconds_left() == 7 * 12 / 2


def test_running_trials():
    progress = SilentProgress()
    progress.on_trial("04", "a")
    progress.on_trial("05", "b")
    progress.on_pattern("ABAB", "b")
    progress.on_epoch(2, 5, "b")
    progress.on_trial("05", "b")  # told twice
    progress.on_epoch(2, 5, "c")  # of a worker that is gone
    a, b = RunningTrial("04"), RunningTrial("05", "ABAB", 2, 5)
    assert progress.running == {"a": a, "b": b}
    progress.on_end(record("04"))
    assert progress.running == {"b": b}
    progress.on_gone("b")
    progress.on_gone("c")
    assert progress.running == {}


def shown(progress):
    console = Console(file=io.StringIO(), record=True, width=100)
    console.print(progress.render())
    text = console.export_text()
    return [" ".join(re.sub("[━╸╺]", "", line).split()) for line in text.splitlines()]


def test_live_display():
    console = Console(file=io.StringIO(), force_terminal=True)
    rows = (record(0), record(9, None, status="PRUNED"))
    with LiveProgress(rows, 4, console) as progress:
        progress.on_trial("01")
        progress.on_pattern("[x]AAB")
        progress.on_epoch(2, 6)
        assert shown(progress) == [
            "trials 2/4 0:00:00 about 17 s left 1 pruned",
            "best ABAB val_accuracy 0.941 31.2 KB",
            "front ABAB 0.941 31.2 KB",
            "",
            "running trial 01 [x]AAB 2/6 epochs",
        ]
        progress.on_end(record(1, 0.95, name="[b]BA"))
        progress.on_end(record(2, None))
        assert shown(progress) == [
            "trials 4/4 0:00:00 1 failed 1 pruned",
            "best [b]BA=ABAB val_accuracy 0.95 31.2 KB",
            "front [b]BA=ABAB 0.95 31.2 KB",
        ]


def test_live_display_of_several_workers():
    progress = LiveProgress((), None)
    progress.on_trial("01", "tuner1")
    progress.on_trial("00", "node-7")
    progress.on_epoch(1, 3, "node-7")
    assert shown(progress) == [
        "trials 0/? 0:00:00",
        "",
        "node-7 trial 00 1/3 epochs",
        "tuner1 trial 01",
    ]


def test_front_is_few_lines():
    rows = [
        record(i, i / 100, name=f"p{i}", measures={"exported_bytes": 1024 * i})
        for i in range(1, 50)
    ]
    rows.append(record(50, 0.001, measures={"exported_bytes": 10**6}))  # not on it
    lines = shown(LiveProgress(tuple(rows), 60))
    assert lines[2] == "front p1=ABAB 0.01 1.0 KB"
    assert lines[-1] == "p49=ABAB 0.49 49.0 KB"
    assert len(lines) == 2 + 6
    lines = shown(LiveProgress((record(0, measures={}),), 60))
    assert lines[2] == "front ABAB 0.941 parameters 100"  # nothing was exported
    lines = shown(LiveProgress((record(0, measures={}, parameters=None),), 60))
    assert lines[2] == "front ABAB 0.941 num_groups 2"


def test_front_of_several_objectives():
    objectives = {"val_accuracy": "max", "exported_bytes": "min", "latency_ms": "min"}
    measures = {"exported_bytes": 2048, "latency_ms": 1.5}
    one = record(0, objectives=objectives, measures=measures)
    assert (
        shown(LiveProgress((one,), 60))[2] == "front ABAB 0.941 2.0 KB latency_ms 1.5"
    )


def test_the_terminal_is_given_back():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with LiveProgress((record(0),), 4, console) as progress:
        progress.on_trial("01")
    assert "\x1b[?25l" in out.getvalue() and out.getvalue().endswith("\x1b[?25h")
    last = out.getvalue().split("trials ")[-1]
    assert "1/4" in last and "trial 01" not in last


def test_choice_of_the_display(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    kinds = [type(display(verbose, (), None)) for verbose in ("auto", 1, 2, 0)]
    assert kinds == [PlainProgress, PlainProgress, PlainProgress, SilentProgress]
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    kinds = [type(display(verbose, (), None)) for verbose in ("auto", 1, 2, 0)]
    assert kinds == [LiveProgress, LiveProgress, PlainProgress, SilentProgress]
    own = SilentProgress()
    assert display(own, (), None) is own


def test_units():
    assert [format_bytes(b) for b in (100, 31949, 3 * 1024**2)] == [
        *("0.1 KB", "31.2 KB", "3.00 MB")
    ]
    assert [format_seconds(s) for s in (0.25, 9.96, 72.4, 130, 7290)] == [
        *("0.2 s", "10.0 s", "72 s", "2 min", "2 h 2 min")
    ]
