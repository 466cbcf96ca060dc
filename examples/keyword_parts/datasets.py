"""Where recordings come from: a file, a folder, a public data set or tones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from keyword_parts.recordings import Recordings, load_npz
from keyword_parts.split import Split, split_by_lists, split_by_speaker
from keyword_parts.tones import tones
from keyword_parts.wav_folder import load_folder, unknown_speakers

SPEECH_COMMANDS = {
    "origin": "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "file_hash": "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
}
SPOKEN_DIGITS = {
    "origin": "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
    "v1.0.9.tar.gz",
}
# Those that the data set's paper reports on; all 35 take 4 GB of memory.
COMMANDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
DATASETS = ("tones", "spoken-digits", "speech-commands")
_LISTS = ("validation_list.txt", "testing_list.txt")


@dataclass(frozen=True)
class Data:
    """The parts of a data set, and a remark on how it was split."""

    split: Split
    remark: str


def load_data(
    source: str,
    *,
    words: Sequence[str] | None = None,
    seconds: float = 1.0,
    seed: int = 0,
) -> Data:
    """Reads recordings and splits them by speaker.

    Args:
        source: One of `DATASETS`, a folder of `.wav` files (see
            `keyword_parts.wav_folder.load_folder`) or an `.npz` file (see
            `keyword_parts.recordings.load_npz`).
        words: The words to tell apart, of a folder or a data set of many.
        seconds: Length that the recordings are brought to.
        seed: Which speakers are drawn for validation and test. Lists that come with
            a data set go first.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are too few speakers or words.
    """
    folder = _folder(source)
    recordings = load_recordings(source, words=words, seconds=seconds)
    if folder and all((folder / name).is_file() for name in _LISTS):
        lists = [(folder / name).read_text().split() for name in _LISTS]
        split = split_by_lists(recordings, *lists)
        return Data(split, "by the lists of the data set, which divide speakers")
    split = split_by_speaker(recordings, seed)
    unknown = unknown_speakers(recordings)
    if unknown:
        return Data(
            split,
            f"[bold red]by file[/] for {unknown:,} files whose names tell no speaker: "
            "a voice may be in training and in the test, which flatters the accuracy",
        )
    return _drawn(split)


def load_recordings(
    source: str, *, words: Sequence[str] | None = None, seconds: float = 1.0
) -> Recordings:
    """Reads recordings; see `load_data` for the arguments and errors."""
    folder = _folder(source)
    if folder is not None:
        if source == "speech-commands":
            words = words or COMMANDS
        return load_folder(folder, seconds, words)
    if source == "tones":
        return tones(seconds=seconds)
    return load_npz(Path(source), seconds)


def _folder(source: str) -> Path | None:
    if source == "tones" or source.endswith(".npz"):
        return None
    return _download(source) if source in DATASETS else Path(source)


def _drawn(split: Split) -> Data:
    who = sorted(set(split.test.speakers))
    shown = ", ".join(map(str, who[:5])) + (", ..." if len(who) > 5 else "")
    return Data(split, f"by speaker; tested on {shown}")


def _download(name: str) -> Path:
    facts = SPOKEN_DIGITS if name == "spoken-digits" else SPEECH_COMMANDS
    folder = Path(keras.utils.get_file(f"{name}.tar.gz", extract=True, **facts))
    if name == "spoken-digits":
        [folder] = folder.glob("**/recordings")
    return folder
