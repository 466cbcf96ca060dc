"""Recordings that sound different each time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_CHUNK = 64  # recordings whose features are computed at once
_KNOTS = 4  # of the curve by which bands get louder and softer


@dataclass(frozen=True)
class Augmentation:
    """How recordings are changed while they are trained on.

    Args:
        shift: Furthest that a recording moves in time, as a share of its length.
        speed: Furthest that its speed, and with it the pitch, departs from 1.
        gain: Furthest that its level is changed, in decibels.
        noise: Loudest noise that is added, in decibels below the recording.
        mask_frames: Most frames in a row that are blanked.
        mask_mels: Most mel bands in a row that are blanked.
        tempo: Furthest that words get slower or faster, as a factor of 1 or more,
            their pitch kept.
        shift_mels: Furthest that features move up or down, in bands, as of a longer
            or shorter vocal tract.
        tone: Furthest that bands get louder or softer, along a smooth curve, as of
            another voice or microphone: in units of the features, which are logarithms
            and 0 in silence; 0.6 is 10 dB in those of the front end.
    """

    shift: float = 0.1
    speed: float = 0.2
    gain: float = 10.0
    noise: float = 10.0
    mask_frames: int = 4
    mask_mels: int = 3
    tempo: float = 1.0
    shift_mels: int = 0
    tone: float = 0.6

    def disguise(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Changes waveforms `(n, samples)` from -1 to 1."""
        count, samples = x.shape

        def draw(low, high):
            return rng.uniform(low, high, (count, 1))

        middle = samples * (0.5 + draw(-self.shift, self.shift))
        speed = 1 + draw(-self.speed, self.speed)
        x = _between(x, (np.arange(samples) - middle) * speed + samples / 2)
        level = np.sqrt(np.mean(x**2, axis=1, keepdims=True))
        softer = _factor(-self.noise - draw(0, 40))
        noise = rng.normal(size=x.shape) * level * softer
        gain = _factor(draw(-self.gain, self.gain))
        return np.clip((x + noise) * gain, -1, 1).astype("float32")

    def warp(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Features `(n, frames, mels)` of other tempo, in other bands, of another tone.

        Reference:
        - [Ko et al., 2015](https://doi.org/10.21437/Interspeech.2015-711)
        - [Nam et al., 2022](https://arxiv.org/abs/2110.03282)
        - [Jaitly and Hinton, 2013](https://www.cs.toronto.edu/~hinton/absps/perturb.pdf)
        """
        count, frames, mels = x.shape
        if self.tempo > 1:
            rates = self.tempo ** rng.uniform(-1, 1, (count, 1))
            places = (np.arange(frames) - frames / 2) * rates + frames / 2
            x = _at(x, np.floor(places).astype(int))
        if self.shift_mels:
            moves = rng.integers(-self.shift_mels, self.shift_mels + 1, (count, 1))
            bands = np.clip(np.arange(mels) + moves, 0, mels - 1)
            x = np.take_along_axis(x, bands[:, None], axis=2)
        if self.tone:
            knots = rng.uniform(-self.tone, self.tone, (count, _KNOTS))
            curve = _between(knots, np.linspace(0, _KNOTS - 1, mels)[None])
            x = np.where(x > 0, np.maximum(x + curve[:, None], 0), x)
        return x

    def mask(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Blanks a stretch of frames and one of bands of features `(n, frames, mels)`.

        Reference:
        - [Park et al., 2019](https://arxiv.org/abs/1904.08779)
        """
        x = x.copy()
        for row in x:
            for axis, most in ((row, self.mask_frames), (row.T, self.mask_mels)):
                size = rng.integers(min(most, len(axis)) + 1)
                first = rng.integers(len(axis) - size + 1)
                axis[first : first + size] = 0  # silence, or the mean of each band
        return x


def in_a_room(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Waveforms amid the faint noise, 50 to 70 dB down, that a microphone always hears.

    Perfect silence, which only files have, has features like those of no other sound.
    """
    return x + _factor(-rng.uniform(50, 70, (len(x), 1))) * rng.normal(size=x.shape)


def disguised_features(
    waveforms: np.ndarray,
    features_of: Callable[[np.ndarray], np.ndarray],
    augmentation: Augmentation,
    count: int,
    seed: int,
) -> np.ndarray:
    """The features of each recording in several disguises, to be drawn from.

    All trials of a search train on the same recordings. Computing their features once
    takes less time than in each epoch of each trial.

    Args:
        waveforms: `(n, samples)`, from -1 to 1.
        features_of: What makes features of waveforms.
        augmentation: How they are changed.
        count: Number of disguises.
        seed: Seed of the disguises.

    Returns:
        Features of shape `(count, n, frames, mels)`.
    """
    rng = np.random.default_rng(seed)
    rows = [
        features_of(augmentation.disguise(waveforms[first : first + _CHUNK], rng))
        for _ in range(count)
        for first in range(0, len(waveforms), _CHUNK)
    ]
    features = np.concatenate(rows)
    return features.reshape(count, len(waveforms), *features.shape[1:])


def _factor(decibels: np.ndarray) -> np.ndarray:
    return 10 ** (decibels / 20)


def _between(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of each row between its samples, and silence beyond them."""
    left = np.floor(places).astype(int)
    share = places - left
    return _at(x, left) * (1 - share) + _at(x, left + 1) * share


def _at(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """What each row has at places of its own, and zeros beyond its ends."""
    inside = (index >= 0) & (index < x.shape[1])
    rows = np.arange(len(x))[:, None]
    found = x[rows, np.clip(index, 0, x.shape[1] - 1)]
    return np.where(inside.reshape(inside.shape + (1,) * (x.ndim - 2)), found, 0)
