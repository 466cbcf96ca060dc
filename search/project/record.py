"""`TrialRecord`: what a trial was and what it reached, as one value."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from keras_share.pattern.sharing_pattern import SharingPattern

_NEEDED = {"trial_id", "status", "objective", "score", "metrics", "measures"}


@dataclass(frozen=True)
class Metric:
    """The value of a metric at its best epoch.

    Attributes:
        value: The value.
        direction: `"max"` or `"min"`, whichever is better.
    """

    value: float
    direction: str


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        trial_id: KerasTuner's name of it.
        status: `"COMPLETED"`, `"FAILED"`, `"INVALID"`, `"PRUNED"` or `"REJECTED"`.
        patterns: Its patterns by the name of their hyperparameter.
        parameters: Number of weights of its model, None if that is unknown.
        objectives: The direction of each objective of the search, the main one first.
        score: Its value of the main objective, None unless it was completed.
        metrics: The metrics of its training.
        measures: What was measured of its model, by name.
        hyperparameters: The values that KerasTuner gave it, which encode patterns too.
        seconds: How long it took.
        started: When it began, in seconds since 1970.
        ended: When it ended, in seconds since 1970.
        worker: Name of the process that ran it.
        message: Why it has no score; the traceback of a failure.
        trials: How many trials this is the mean of; None of a single one.

    Example:
    >>> record = TrialRecord(
    ...     trial_id="3", status="COMPLETED", objectives={"val_accuracy": "max"},
    ...     patterns={"sharing": SharingPattern("ABAB")}, score=0.9,
    ... )
    >>> record.pattern, record.num_groups, record.is_completed
    ('ABAB', 2, True)
    """

    trial_id: str
    status: str
    objectives: Mapping[str, str]
    patterns: Mapping[str, SharingPattern] = field(default_factory=dict)
    parameters: int | None = None
    score: float | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    message: str | None = None
    trials: int | None = None

    @property
    def pattern(self) -> str:
        """`ABAB`, or `attention=AABB ffn=AAAA` of patterns that have names."""
        return format_patterns(self.patterns)

    @property
    def num_groups(self) -> int | None:
        """The groups of all patterns, None without one."""
        return sum(p.num_groups for p in self.patterns.values()) or None

    @property
    def objective(self) -> str:
        """The objective that scores the trial."""
        return next(iter(self.objectives))

    @property
    def direction(self) -> str:
        """`"max"` or `"min"`, whichever is better for the score."""
        return self.objectives[self.objective]

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
        metrics = {name: metric.value for name, metric in self.metrics.items()}
        return {**known, **metrics, **self.measures}

    def scored_by(self, objectives: Mapping[str, str]) -> "TrialRecord":
        """The record as one of a search for other objectives."""
        if next(iter(objectives)) == self.objective:
            return replace(self, objectives=objectives)
        score = self.numbers.get(next(iter(objectives)))
        is_scored = self.status == "COMPLETED"
        return replace(self, objectives=objectives, score=score if is_scored else None)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        content = asdict(self)
        del content["trials"]
        return {
            **content,
            "pattern": self.pattern,
            "patterns": {name: str(p) for name, p in self.patterns.items()},
            "num_groups": self.num_groups,
            "objective": self.objective,
            "direction": self.direction,
            "objectives": [
                {"name": name, "direction": direction}
                for name, direction in self.objectives.items()
            ],
        }

    @classmethod
    def from_dict(cls, content: Any) -> "TrialRecord":
        """Reads what `to_dict` gave, today or in an earlier version.

        Raises:
            ValueError: If it is something else.
        """
        found = content if isinstance(content, Mapping) else {}
        missing = _NEEDED - found.keys()
        if missing:
            raise ValueError(
                "A record of a trial must have what `TrialRecord.to_dict` gives. "
                f"Received: {content!r:.80}, without {', '.join(sorted(missing))}"
            )
        known = {one.name for one in fields(cls)} & content.keys()
        objectives = content.get("objectives") or [
            {"name": content["objective"], "direction": content["direction"]}
        ]
        read = {
            "patterns": parse_patterns(content.get("pattern") or ""),
            "objectives": {one["name"]: one["direction"] for one in objectives},
            "metrics": {n: Metric(**m) for n, m in content["metrics"].items()},
        }
        if content.get("patterns") is not None:
            read["patterns"] = _patterns(content["patterns"])
        return cls(**{**{name: content[name] for name in known}, **read})


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
    parts = [part.rpartition("=") for part in text.split(" ")]
    return _patterns({name or "sharing": pattern for name, _, pattern in parts})


def best(records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The record with the best score, of equal ones the first; None without scores."""
    scored = [(one.score, one) for one in records if one.score is not None]
    if not scored:
        return None
    pick = max if scored[0][1].direction == "max" else min
    return pick(scored, key=lambda pair: pair[0])[1]


def _patterns(texts: Mapping[str, str]) -> dict[str, SharingPattern]:
    return {
        name: SharingPattern(text.split("-") if "-" in text else text)
        for name, text in texts.items()
        if text
    }
