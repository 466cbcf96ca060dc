"""What the processes of a search tell each other."""

import json
from collections.abc import Callable
from typing import Any, TextIO

from keras_share.search.display.progress import SilentProgress
from keras_share.search.project.record import TrialRecord

Emit = Callable[..., None]

DONE = "on_done"  # a worker was told that no trials are left

# A worker's oracle can send its chief names and numbers, but no other text. So a
# record travels as the name of a metric, which the chief takes out again.
_RECORD = "keras_share/record:"


def as_metrics(record: TrialRecord) -> dict[str, float]:
    """A record as metrics that the chief's oracle never sees."""
    return {_RECORD + json.dumps(record.to_dict()): 0.0}


def record_in(metrics: dict[str, Any]) -> TrialRecord | None:
    """The record that `as_metrics` put there, None in metrics of another kind."""
    name = next(iter(metrics), "")
    if not name.startswith(_RECORD):
        return None
    return TrialRecord.from_dict(json.loads(name.removeprefix(_RECORD)))


class Reporter(SilentProgress):
    """The display of a worker: tells the process that started it, in lines of JSON.

    Args:
        stream: Where to write the lines.
        send: Takes each record, for the chief.
    """

    def __init__(self, stream: TextIO, send: Callable[[TrialRecord], None]):
        super().__init__()
        self.stream = stream
        self.send = send

    def tell(self, event: str, *values: Any) -> None:
        """Writes one line."""
        print(json.dumps([event, *values]), file=self.stream, flush=True)

    def on_trial(self, trial_id: str, worker: str = "") -> None:
        """Tells that a trial begins."""
        self.tell("on_trial", trial_id)

    def on_pattern(self, pattern: str, worker: str = "") -> None:
        """Tells the pattern of the running trial."""
        self.tell("on_pattern", pattern)

    def on_epoch(self, epoch: int, epochs: int | None, worker: str = "") -> None:
        """Tells how far the running trial is."""
        self.tell("on_epoch", epoch, epochs)

    def on_end(self, record: TrialRecord) -> None:
        """Tells that a trial has ended, and how."""
        self.send(record)
        self.tell("on_end", record.to_dict())
