"""Recordings in folders: `word/*.wav`, and how names tell who speaks."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from keyword_parts.recordings import Recordings, gather

# Of Google Speech Commands, and of Free Spoken Digits.
_NOHASH = re.compile(r"(?P<speaker>.+)_nohash_\d+")
_NAMED = re.compile(r"(?P<word>[^_]+)_(?P<speaker>.+)_\d+")


def load_folder(
    root: Path, seconds: float, words: Iterable[str] | None = None
) -> Recordings:
    """Reads a folder of recordings.

    The files are `word/speaker_nohash_1.wav`, `word/word_speaker_1.wav`,
    `word/speaker/any.wav` or, without a folder per word, `word_speaker_1.wav`. Where
    the name tells no speaker, each file counts as one of its own. Folders whose name
    begins with an underscore or a dot are left out. Recordings are resampled to the
    rate that most of them have.

    Args:
        root: The folder.
        seconds: Length that the recordings are brought to.
        words: The words to read. Defaults to all.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a word has no recording, or a file is not 16-bit PCM.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            "A folder of recordings must exist, with .wav files in one folder per "
            f"word. Received: {str(root)!r}"
        )
    found = {}
    for path in sorted(root.rglob("*.wav")):
        name = path.relative_to(root).as_posix()
        word, speaker = describe(name)
        if not re.search(r"(^|/)[._]", name) and (words is None or word in words):
            found[name] = word, speaker
    missing = set(words or ()) - {word for word, _ in found.values()}
    if missing:
        raise ValueError(
            f"Each word must have recordings. In {str(root)!r} there are none of "
            f"{sorted(missing)}."
        )
    rates, waveforms = [], []
    for name in found:
        rate, waveform = read_wav(root / name)
        rates.append(rate)
        waveforms.append(waveform)
    rate = Counter(rates).most_common(1)[0][0] if rates else 0
    waveforms = [
        resample(x, old, rate) for x, old in zip(waveforms, rates, strict=True)
    ]
    told = [word for word, _ in found.values()], [who for _, who in found.values()]
    return gather(waveforms, *told, rate, seconds, list(found))


def describe(name: str) -> tuple[str, str]:
    """The word and the speaker of a file, by its path within the folder."""
    *folders, file = name.removesuffix(".wav").split("/")
    if len(folders) > 1:
        return folders[0], folders[1]
    match = _NOHASH.fullmatch(file) or _NAMED.fullmatch(file)
    told = match.groupdict() if match else {}
    word = folders[0] if folders else told.get("word", file)
    return word, told.get("speaker", name)


def unknown_speakers(recordings: Recordings) -> int:
    """How many files are their own speaker, as their names don't tell."""
    return int(np.sum(recordings.speakers == recordings.names))


def read_wav(path: Path) -> tuple[int, np.ndarray]:
    """Sample rate and 16-bit samples of a file; of several channels their mean."""
    rate, samples = wavfile.read(path)
    if samples.dtype != np.int16:
        raise ValueError(
            f"A recording must be 16-bit PCM. Received: {str(path)!r} of "
            f"{samples.dtype}. Convert it, for example with ffmpeg -c:a pcm_s16le."
        )
    if samples.ndim > 1:
        samples = samples.mean(axis=1).round().astype(np.int16)
    return rate, samples


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """A waveform at another sample rate."""
    if rate == new_rate:
        return waveform
    resampled = resample_poly(waveform.astype("float64"), new_rate, rate)
    return resampled.round().clip(-(2**15), 2**15 - 1).astype(np.int16)
