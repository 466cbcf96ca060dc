"""What a trial chose, read from its row: patterns, and other hyperparameters."""

import re
from typing import Any

from keras_share.pattern.sharing_pattern import SharingPattern
from keras_share.search.project.rows import Row


def chosen_patterns(row: Row) -> dict[str, SharingPattern]:
    """The patterns of a trial by the name of their hyperparameter.

    A row that only has the text of its patterns names a single one `sharing`.
    """
    texts = row.get("patterns")
    if texts is None:
        parts = [part.rpartition("=") for part in (row["pattern"] or "").split(" ")]
        texts = {name or "sharing": text for name, _, text in parts}
    return {
        name: SharingPattern(text.split("-") if "-" in text else text)
        for name, text in texts.items()
        if text
    }


def chosen_values(row: Row) -> dict[str, Any]:
    """The other hyperparameters of a trial: those that no pattern is encoded in."""
    # A pattern of many sites takes several numbers: sharing, sharing.2, sharing.3.
    names = "|".join(map(re.escape, chosen_patterns(row)))
    encoding = re.compile(rf"({names})(\.(\d+|patterns))?")
    return {
        name: value
        for name, value in row["hyperparameters"].items()
        if not encoding.fullmatch(name)
    }
