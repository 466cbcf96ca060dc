"""Features of all recordings, as they are and in disguises, and who is tested on."""

import hashlib
import io
from pathlib import Path

import numpy as np
from keyword_parts.augmentation import (
    Augmentation,
    disguised_features,
    in_a_room,
)
from keyword_parts.frontend import features_of
from keyword_parts.recordings import Recordings
from sklearn.model_selection import GroupKFold

from keras_share.atomic import write_atomically

AUGMENTATION = Augmentation(
    speed=0.25,
    noise=15.0,
    mask_frames=8,
    mask_mels=4,
    tempo=1.4,
    shift_mels=1,
    tone=1.0,
)
FOLDS = 4


def folds(recordings: Recordings) -> list[np.ndarray]:
    """The recordings that each fold tests on, of other speakers in each.

    Raises:
        ValueError: If there are fewer speakers than folds.
    """
    speakers = np.unique(recordings.speakers)
    if len(speakers) < FOLDS:
        raise ValueError(
            f"{FOLDS} folds by speaker need at least {FOLDS} speakers. Received: "
            f"{', '.join(map(str, speakers))}"
        )
    split = GroupKFold(FOLDS).split(recordings.labels, groups=recordings.speakers)
    return [test for _, test in split]


def load(recordings: Recordings, disguises: int, cache: Path) -> np.ndarray:
    """Features `(1 + disguises, n, frames, bands)`, of which the first are undisguised.

    Args:
        recordings: The recordings.
        disguises: Versions to train on.
        cache: Folder where they are kept.
    """
    key = hashlib.sha256(f"{AUGMENTATION} {disguises}".encode())
    key.update(recordings.waveforms)
    path = cache / f"features_{key.hexdigest()[:12]}.npy"
    if not path.exists():

        def listen(x: np.ndarray) -> np.ndarray:
            return features_of(in_a_room(x, rng), recordings.sample_rate)

        rng = np.random.default_rng(0)
        x = recordings.x
        made = disguised_features(x, listen, AUGMENTATION, disguises, seed=0)
        file = io.BytesIO()
        np.save(file, np.concatenate([listen(x)[None], made]).astype("float16"))
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, file.getvalue())
    return np.load(path)
