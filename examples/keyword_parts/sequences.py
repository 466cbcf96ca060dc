"""Words in a row with random gaps, amid noise, made on the fly."""

import keras
import numpy as np

from keyword_parts.augmentation import Augmentation, in_a_room
from keyword_parts.frontend import features_of
from keyword_parts.recordings import Recordings


class Sequences(keras.utils.PyDataset):
    """Batches of features of sentences, and what is said in them.

    Args:
        recordings: Words, of which each sentence takes some of one speaker.
        batch_size: Sentences per batch.
        batches: Batches per epoch.
        seconds: Length of the audio.
        most: Most words of a sentence; at least one.
        augmentation: How each word and the features are changed; None for not at all.
        seed: Seed of all draws.

    Raises:
        ValueError: If so many words don't fit into the audio.
    """

    def __init__(
        self,
        recordings: Recordings,
        batch_size: int,
        batches: int,
        *,
        seconds: float = 4.0,
        most: int = 4,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.recordings, self.augmentation = recordings, augmentation
        self.batch_size, self.batches, self.seed = batch_size, batches, seed
        self.samples, self.most = round(seconds * recordings.sample_rate), most
        self.epoch = 0
        self.speakers = [
            np.flatnonzero(recordings.speakers == who)
            for who in np.unique(recordings.speakers)
        ]
        if most * recordings.waveforms.shape[1] > self.samples or most < 1:
            length = recordings.waveforms.shape[1] / recordings.sample_rate
            raise ValueError(
                "A sentence must have one word or more, which must fit into its audio: "
                f"recordings last up to {length} seconds here. Received: most={most}, "
                f"seconds={seconds}"
            )

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Features `(n, frames, bands)`, and labels from 1 on, padded by 0."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        x = np.zeros((self.batch_size, self.samples), "float32")
        y = np.zeros((self.batch_size, self.most), "int32")
        for row, labels in zip(x, y, strict=True):
            chosen = rng.choice(
                self.speakers[rng.integers(len(self.speakers))],
                rng.integers(1, self.most + 1),
            )
            labels[: len(chosen)] = self.recordings.labels[chosen] + 1
            words = self.recordings[chosen].x
            if self.augmentation is not None:
                words = self.augmentation.disguise(words, rng)
            words = [_trimmed(word) for word in words]
            silence = self.samples - sum(map(len, words))
            gaps = np.floor(rng.dirichlet(np.ones(len(words) + 1)) * silence)
            at = 0
            for gap, word in zip(gaps.astype(int), words, strict=False):
                row[at + gap : at + gap + len(word)] = word
                at += gap + len(word)
        x = features_of(in_a_room(x, rng), self.recordings.sample_rate)
        if self.augmentation is not None:
            x = self.augmentation.mask(self.augmentation.warp(x, rng), rng)
        return x, y

    def on_epoch_end(self) -> None:
        """Goes on to other sentences."""
        self.epoch += 1

    def sentences(self, labels: np.ndarray) -> list[str]:
        """Labels in words; what is not above 0 is left out."""
        return [
            " ".join(self.recordings.words[i - 1] for i in row if i > 0)
            for row in labels
        ]


def _trimmed(word: np.ndarray) -> np.ndarray:
    """A word without the silence around it."""
    loud = np.flatnonzero(np.abs(word) > 0.05 * np.abs(word).max())
    return word[loud[0] : loud[-1] + 1]
