"""What a search prints."""

import io

import pytest
from rich.console import Console

from keras_share.search.progress import (
    EpochCallback,
    LiveProgress,
    PlainProgress,
    SilentProgress,
    display,
    format_bytes,
    format_seconds,
)


def row(number, score=0.941, seconds=8.4, **kwargs):
    return {
        "trial_id": f"{number:02}",
        "status": "COMPLETED" if score is not None else "FAILED",
        "pattern": "ABAB",
        "num_groups": 2,
        "objective": "val_accuracy",
        "direction": "max",
        "score": score,
        "measures": {"exported_bytes": 31949},
        "seconds": seconds,
        **kwargs,
    }


def test_line_of_a_trial(capsys):
    progress = PlainProgress((row(0), row(1)), total=12)
    progress.on_row(row(2))
    assert capsys.readouterr().out == (
        "trial 3/12  ABAB  2 groups  val_accuracy 0.941  31.2 KB  8.4 s  "
        "about 76 s left\n"
    )


def test_line_with_little_known(capsys):
    progress = PlainProgress()
    progress.on_row(row(0, None, 0.2, pattern="", num_groups=None, measures={}))
    progress.on_row(row(1, pattern="AAAA", num_groups=1))
    assert capsys.readouterr().out.splitlines() == [
        "trial 1/?  FAILED  0.2 s",
        "trial 2/?  AAAA  1 group  val_accuracy 0.941  31.2 KB  8.4 s",
    ]


def test_long_lines_are_not_wrapped_and_text_is_not_markup(capsys):
    progress = PlainProgress(total=3)
    progress.on_row(row(0, pattern="[red]" + "A" * 200))
    assert "[red]" + "A" * 200 in capsys.readouterr().out.splitlines()[0]


def test_time_left_counts_finished_trials_only():
    progress = SilentProgress((row(0, None, 0.1), row(1, seconds=10)), total=4)
    assert progress.seconds_left() == 20
    progress.on_row(row(2, seconds=20))
    assert progress.seconds_left() == 15
    progress.on_row(row(2, seconds=30))  # a retry replaces its first attempt
    assert progress.seconds_left() == 20
    assert SilentProgress((row(0),)).seconds_left() is None
    assert SilentProgress((row(0, None),), total=3).seconds_left() is None


@pytest.mark.parametrize("direction, best", [("max", 0.9), ("min", 0.1)])
def test_best(direction, best):
    rows = [row(i, s, direction=direction) for i, s in enumerate([None, 0.9, 0.1])]
    assert SilentProgress(tuple(rows)).best()["score"] == best
    assert SilentProgress().best() is None


def test_live_bars():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    progress = LiveProgress((row(0),), 4, console)
    with progress:
        progress.on_trial("01")
        progress.on_pattern("[x]AAB")
        callback = EpochCallback(progress)
        callback.set_params({"epochs": 6})
        callback.on_train_begin()
        callback.on_epoch_end(1)
        progress._bars.refresh()
    text = out.getvalue()
    assert "1/4" in text
    assert "best val_accuracy 0.941 ABAB  about 25 s left" in text
    assert "2/6" in text
    assert "[x]AAB" in text
    out.truncate(0)
    progress.on_row(row(1, 0.95, pattern="ABBA"))
    with progress:
        pass
    assert "2/4" in out.getvalue()
    assert "best val_accuracy 0.95 ABBA  about 17 s left" in out.getvalue()


def test_choice_of_the_display(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    kinds = [type(display(verbose, (), None)) for verbose in ("auto", 1, 2, 0)]
    assert kinds == [PlainProgress, PlainProgress, PlainProgress, SilentProgress]
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    kinds = [type(display(verbose, (), None)) for verbose in ("auto", 1, 2, 0)]
    assert kinds == [LiveProgress, LiveProgress, PlainProgress, SilentProgress]


def test_units():
    assert [format_bytes(b) for b in (100, 31949, 3 * 1024**2)] == [
        *("0.1 KB", "31.2 KB", "3.00 MB")
    ]
    assert [format_seconds(s) for s in (0.25, 9.96, 72.4, 130, 7290)] == [
        *("0.2 s", "10.0 s", "72 s", "2 min", "2 h 2 min")
    ]
