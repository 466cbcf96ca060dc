"""The split by speaker: who is tested on was never heard in training."""

from dataclasses import dataclass

import numpy as np

from keyword_parts.recordings import Recordings

HELD_OUT = 0.15  # of the speakers, for validation and again for the test


@dataclass(frozen=True)
class Split:
    """Recordings for training, validation and test.

    Raises:
        ValueError: If a speaker is in two of them, or one of them is empty.
    """

    train: Recordings
    validation: Recordings
    test: Recordings

    def __post_init__(self):
        parts = (self.train, self.validation, self.test)
        speakers = [set(part.speakers) for part in parts]
        if not all(speakers):
            raise ValueError(
                "Training, validation and test must all have recordings. "
                f"Received: {[len(part) for part in parts]} recordings"
            )
        twice = sorted(
            who
            for i, some in enumerate(speakers)
            for others in speakers[i + 1 :]
            for who in some & others
        )
        if twice:
            raise ValueError(
                "No speaker may be in two parts of a split: accuracy on a voice that "
                "was trained on says nothing about others. Received twice: "
                f"{', '.join(map(str, twice[:5]))}"
            )


def split_by_speaker(recordings: Recordings, seed: int = 0) -> Split:
    """Draws the speakers of each part; at least one for validation and for the test.

    Raises:
        ValueError: If there are less than three speakers.
    """
    speakers = np.unique(recordings.speakers)
    if len(speakers) < 3:
        raise ValueError(
            "A split by speaker needs at least 3 speakers: to train on, to choose by "
            f"and to test on. Received: {', '.join(map(str, speakers)) or 'none'}"
        )
    drawn = np.random.default_rng(seed).permutation(speakers)
    count = max(1, round(HELD_OUT * len(speakers)))
    parts = np.split(drawn, [count, 2 * count])
    test, validation, train = (
        recordings[np.isin(recordings.speakers, part)] for part in parts
    )
    return Split(train, validation, test)


def split_by_lists(
    recordings: Recordings, validation: list[str], test: list[str]
) -> Split:
    """Takes the parts that a data set comes with.

    Args:
        recordings: All recordings.
        validation: Paths of those for validation.
        test: Paths of those for the test.
    """
    held_out = [np.isin(recordings.names, listed) for listed in (validation, test)]
    train = ~(held_out[0] | held_out[1])
    return Split(*(recordings[chosen] for chosen in (train, *held_out)))
