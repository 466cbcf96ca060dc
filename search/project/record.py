"""`TrialRecord`: what a trial was and what it reached, as one value."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.space.numbering import patterns_from_values

_STATUS = {
    TrialState.COMPLETE: "COMPLETED",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAILED",
}
# Attributes of a trial in the study; those that begin with an underscore are our own.
MESSAGE, WORKER = "message", "worker"
MEASURES, REJECTED = "_measures", "_rejected"
_LARGEST = 2**1000  # that floats have
_NO_RESULT = ("planned_epochs",)  # a number that is none

_LOST = (
    "its process ended again and again while it ran this trial, probably out of memory"
)


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        trial_id: Its number in the study.
        status: `"COMPLETED"`, `"FAILED"`, `"PRUNED"` or `"REJECTED"`.
        patterns: Its patterns by the name of their hyperparameter.
        parameters: Number of weights of its model, None if that is unknown.
        score: Its value of the main objective, None unless it was completed.
        metrics: The metrics of its training, at its best epoch.
        measures: What was measured of its model, by name.
        hyperparameters: The values that KerasTuner gave it, which encode patterns too.
        seconds: How long it took.
        started: When it began, in seconds since 1970; `ended` likewise.
        worker: Name of the process that ran it.
        message: Why it has no score; the traceback of a failure.
        place: Its place in the order in which trials began.
    """

    trial_id: str
    status: str
    patterns: Mapping[str, SharingPattern] = field(default_factory=dict)
    parameters: int | None = None
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    message: str | None = None
    place: int = 0

    @cached_property
    def pattern(self) -> str:
        """`ABAB`, or `attention=AABB ffn=AAAA` of patterns that have names."""
        return format_patterns(self.patterns)

    @property
    def num_groups(self) -> int | None:
        """The groups of all patterns, None without one."""
        return sum(p.num_groups for p in self.patterns.values()) or None

    @property
    def is_completed(self) -> bool:
        """Whether the trial was trained to its end and has a score."""
        return self.status == "COMPLETED" and self.score is not None

    @property
    def reason(self) -> str | None:
        """The last line of the message: of a traceback the one that names the error."""
        lines = (self.message or "").strip().splitlines()
        return lines[-1] if lines else None

    @property
    def values(self) -> dict[str, Any]:
        """The hyperparameters that no pattern is encoded in."""
        # A pattern of many sites takes several numbers: sharing, sharing.2, sharing.3.
        names = "|".join(map(re.escape, self.patterns))
        encoding = re.compile(rf"({names})(\.(\d+|patterns))?")
        return {
            name: value
            for name, value in self.hyperparameters.items()
            if not encoding.fullmatch(name)
        }

    @property
    def numbers(self) -> dict[str, float]:
        """All that was measured of the trial, by name."""
        known = {} if self.parameters is None else {"parameters": self.parameters}
        return {**known, **self.metrics, **self.measures}


def record_of(trial: FrozenTrial, objectives: Mapping[str, str]) -> TrialRecord:
    """The record of a trial that has ended, of a search or of any study."""
    found = trial.user_attrs
    measures = found.get(MEASURES)
    measures = list(map(str, measures)) if isinstance(measures, list | tuple) else []
    status = "REJECTED" if REJECTED in found else _STATUS[trial.state]
    if trial.state == TrialState.COMPLETE and MEASURES not in found:
        found = {**found, **dict(zip(objectives, trial.values, strict=True))}
    # Attributes of a study are the user's, too, and of any name and type.
    numbers = {
        name: value
        for name, value in found.items()
        if _is_number(value) and name[:1] not in ("", "_") and name not in _NO_RESULT
    }
    parameters: Any = numbers.pop("parameters", None)
    message = found.get(MESSAGE, _LOST if status == "FAILED" else None)
    score = found.get(next(iter(objectives))) if status == "COMPLETED" else None
    started, ended = trial.datetime_start, trial.datetime_complete
    return TrialRecord(
        trial_id=str(trial.number),
        status=status,
        # Storages keep no order.
        patterns=_patterns_of(trial),
        parameters=parameters,
        score=score if _is_number(score) else None,
        metrics={
            name: value for name, value in numbers.items() if name not in measures
        },
        measures={name: numbers[name] for name in measures if name in numbers},
        hyperparameters=trial.params,
        seconds=(ended - started).total_seconds() if started and ended else None,
        started=started.timestamp() if started else None,
        ended=ended.timestamp() if ended else None,
        worker=_text(found.get(WORKER)),
        message=_text(message),
        place=place_of(trial),
    )


def _text(value: Any) -> str | None:
    """As text that any encoding has."""
    return None if value is None else str(value).encode(errors="replace").decode()


def _is_number(value: Any) -> bool:
    """Whether it is a number, of a size that others can have."""
    return isinstance(value, float) or (
        isinstance(value, int) and abs(value) <= _LARGEST
    )


def _patterns_of(trial: FrozenTrial) -> dict[str, SharingPattern]:
    try:
        patterns = patterns_from_values(trial.params, trial.user_attrs)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            "What a trial says of its patterns must be as `sharing_pattern` or "
            f"`suggest_pattern` wrote it. Received: trial {trial.number}, with "
            f"{trial.user_attrs} and {trial.params} ({error})"
        ) from error
    return dict(sorted(patterns.items()))


def place_of(trial: FrozenTrial) -> int:
    """The number of the trial of which this is a further attempt, or its own."""
    place = trial.user_attrs.get("_place")
    return place if isinstance(place, int) else trial.number


def counted(trials: Iterable[FrozenTrial]) -> int:
    """How many trials there are, but for those that were rejected."""
    return sum(REJECTED not in one.user_attrs for one in trials)


def format_patterns(patterns: Mapping[str, SharingPattern]) -> str:
    """`ABAB`, or `attention=AABB ffn=AAAA` of patterns that have names.

    A single one of another name than `sharing_pattern` gives it has its name too, so
    that a later search knows which hyperparameter it was.
    """
    if list(patterns) == ["sharing"]:
        return str(patterns["sharing"])
    return " ".join(f"{name}={pattern}" for name, pattern in patterns.items())


def parse_patterns(text: str) -> dict[str, SharingPattern]:
    """Reads what `format_patterns` gave."""
    parts = [part.rpartition("=") for part in text.split(" ") if part]
    return {
        name or "sharing": SharingPattern(said.split("-") if "-" in said else said)
        for name, _, said in parts
    }
