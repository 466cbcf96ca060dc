"""`Recordings`: waveforms of one length, with who says what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Recordings:
    """Recordings of spoken words.

    Args:
        waveforms: 16-bit samples, `(n, samples)`.
        labels: Indices into `words`, `(n,)`.
        speakers: Who speaks, `(n,)`.
        words: What is said, in the order of their indices.
        sample_rate: Samples per second.
    """

    waveforms: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    words: tuple[str, ...]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: np.ndarray) -> "Recordings":
        parts = (self.waveforms, self.labels, self.speakers)
        return Recordings(*(p[chosen] for p in parts), self.words, self.sample_rate)

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
) -> Recordings:
    """Makes `Recordings` of waveforms of any length.

    Raises:
        ValueError: If there are less than two different words.
    """
    names = sorted(set(words))
    if len(names) < 2:
        raise ValueError(
            "There must be recordings of at least two words. "
            f"Received: {len(waveforms)} recordings of {names}"
        )
    samples = round(seconds * sample_rate)
    return Recordings(
        np.stack([of_length(waveform, samples) for waveform in waveforms]),
        np.array([names.index(word) for word in words], "int32"),
        np.asarray(speakers),
        tuple(names),
        sample_rate,
    )


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
