"""What the processes of a search tell each other."""

import json
from collections.abc import Callable
from typing import Any, TextIO

from keras_share.search.display.progress import SilentProgress
from keras_share.search.project.rows import Row

Emit = Callable[..., None]

DONE = "on_done"  # a worker was told that no trials are left

# A worker's oracle can send its chief names and numbers, but no other text. So a row
# travels as the name of a metric, which the chief takes out again.
_ROW = "keras_share/row:"


def as_metrics(row: Row) -> dict[str, float]:
    """A row as metrics that the chief's oracle never sees."""
    return {_ROW + json.dumps(row): 0.0}


def row_in(metrics: dict[str, Any]) -> Row | None:
    """The row that `as_metrics` put there, None in metrics of another kind."""
    name = next(iter(metrics), "")
    return json.loads(name.removeprefix(_ROW)) if name.startswith(_ROW) else None


class Reporter(SilentProgress):
    """The display of a worker: tells the process that started it, in lines of JSON.

    Args:
        stream: Where to write the lines.
        send: Takes each row, for the chief.
    """

    def __init__(self, stream: TextIO, send: Callable[[Row], None]):
        super().__init__()
        self.stream = stream
        self.send = send

    def tell(self, event: str, *values: Any) -> None:
        """Writes one line."""
        print(json.dumps([event, *values]), file=self.stream, flush=True)

    def on_trial(self, trial_id: str, worker: str = "") -> None:
        """Tells that a trial begins."""
        super().on_trial(trial_id, worker)
        self.tell("on_trial", trial_id)

    def on_pattern(self, pattern: str, worker: str = "") -> None:
        """Tells the pattern of the running trial."""
        self.tell("on_pattern", pattern)

    def on_epoch(self, epoch: int, epochs: int | None, worker: str = "") -> None:
        """Tells how far the running trial is."""
        self.tell("on_epoch", epoch, epochs)

    def on_row(self, row: Row) -> None:
        """Tells that a trial has ended, and how."""
        super().on_row(row)
        self.send(row)
        self.tell("on_row", row)
