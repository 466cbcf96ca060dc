"""`Recordings`: waveforms of one length, with who says what."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

FULL_SCALE = 2**15 - 1
_BY_RECORDING = ("waveforms", "labels", "speakers", "names")
CLIPPED = 0.02  # share of samples at full scale from which on it is heard


@dataclass(frozen=True)
class Recordings:
    """Recordings of spoken words.

    Args:
        waveforms: 16-bit samples, `(n, samples)`.
        labels: Indices into `words`, `(n,)`.
        speakers: Who speaks, `(n,)`.
        words: What is said, in the order of their indices.
        sample_rate: Samples per second.
        names: The file of each within its data set, or "", `(n,)`.
    """

    waveforms: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    words: tuple[str, ...]
    sample_rate: int
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray) -> "Recordings":
        parts = {k: vars(self)[k][chosen] for k in _BY_RECORDING}
        return replace(self, **parts)

    @property
    def x(self) -> np.ndarray:
        """The waveforms from -1 to 1, as the front-end takes them."""
        return self.waveforms.astype("float32") / 2**15


def gather(
    waveforms: Sequence[np.ndarray],
    words: Sequence[str],
    speakers: Sequence[str],
    sample_rate: int,
    seconds: float,
    names: Sequence[str] = (),
) -> Recordings:
    """Makes `Recordings` of waveforms of any length.

    Silent ones are left out, with a warning; another one tells of those that are
    clipped.

    Raises:
        ValueError: If there are less than two different words, if all recordings of a
            word are silent, or if the length is not one of speech.
    """
    told = sorted(set(words))
    if len(told) < 2:
        raise ValueError(
            "There must be recordings of at least two words. "
            f"Received: {len(waveforms)} recordings of {told}"
        )
    if not 0.03 <= seconds <= 60:
        raise ValueError(
            "Recordings must be brought to a length from 0.03 seconds, one frame of "
            f"features, to 60. Received: seconds={seconds}"
        )
    samples = round(seconds * sample_rate)
    made = Recordings(
        np.stack([of_length(waveform, samples) for waveform in waveforms]),
        np.array([told.index(word) for word in words], "int32"),
        np.asarray(speakers),
        tuple(told),
        sample_rate,
        np.asarray(names or [""] * len(waveforms)),
    )
    loud = made[_heard(made)]
    silent = sorted(set(told) - {told[label] for label in loud.labels})
    if silent:
        raise ValueError(
            "Each word must have recordings in which something is heard. Received: "
            f"only silent ones of {', '.join(silent)}. Record them again, or leave "
            "these words out."
        )
    return loud


def _heard(recordings: Recordings) -> np.ndarray:
    """Which recordings are not silent; warns of these and of clipped ones."""
    waveforms = recordings.waveforms.astype("int32")
    heard = np.ptp(waveforms, axis=1) > 0
    clipped = np.mean(np.abs(waveforms) >= FULL_SCALE, axis=1) > CLIPPED
    for which, what in (
        (~heard, "are silent (every sample is the same) and left out"),
        (clipped & heard, "are clipped; record with a lower gain"),
    ):
        if which.any():
            spoken = {recordings.words[label] for label in recordings.labels[which]}
            warnings.warn(
                f"{which.sum()} of {len(which)} recordings {what}, of the words "
                f"{', '.join(sorted(spoken))}.",
                stacklevel=3,
            )
    return heard


def of_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """The loudest stretch of a long waveform, or a short one amid silence."""
    extra = len(waveform) - samples
    if extra > 0:
        energy = np.cumsum([0.0, *waveform.astype("float64") ** 2])
        first = int(np.argmax(energy[samples:] - energy[:-samples]))
        return waveform[first : first + samples]
    before = -extra // 2
    return np.pad(waveform, (before, -extra - before))


def load_npz(path: Path, seconds: float) -> Recordings:
    """Reads recordings of digits that lie in a row in one file.

    Args:
        path: A file of the arrays `audio` (16-bit samples), `offset` (recording `i`
            is `audio[offset[i]:offset[i + 1]]`), `digit`, `speaker` and
            `sample_rate`.
        seconds: Length that the recordings are brought to.

    Raises:
        ValueError: If an array is missing.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    missing = {"audio", "offset", "digit", "speaker", "sample_rate"} - set(arrays)
    if missing:
        raise ValueError(
            "An .npz file of recordings must have the arrays audio, offset, digit, "
            f"speaker and sample_rate. {str(path)!r} lacks {sorted(missing)}."
        )
    return gather(
        np.split(arrays["audio"], arrays["offset"][1:-1]),
        arrays["digit"].astype(str),
        arrays["speaker"],
        int(arrays["sample_rate"]),
        seconds,
    )
