"""Words made of tones, for tests and for a run without data."""

import numpy as np

from keyword_parts.recordings import Recordings, gather

# The pitch of each third of a word, as a factor.
_WORDS = {
    "down": (1.5, 1.2, 1.0),
    "fall_late": (1.5, 1.5, 1.0),
    "hill": (1.0, 1.5, 1.0),
    "level": (1.2, 1.2, 1.2),
    "rise_late": (1.0, 1.0, 1.5),
    "up": (1.0, 1.2, 1.5),
    "valley": (1.5, 1.0, 1.5),
    "wave": (1.2, 1.5, 1.0),
}


def tones(
    num_words: int = 8,
    num_speakers: int = 8,
    takes: int = 20,
    *,
    sample_rate: int = 8000,
    seconds: float = 1.0,
    seed: int = 0,
) -> Recordings:
    """Melodies of three notes, sung by voices of different pitch and timbre.

    Args:
        num_words: Number of melodies, at most 8.
        num_speakers: Number of voices.
        takes: Recordings of each melody by each voice, of different length and noise.
        sample_rate: Samples per second.
        seconds: Length of a recording.
        seed: Seed of the voices and the takes.
    """
    rng = np.random.default_rng(seed)
    waveforms, words, speakers = [], [], []
    for speaker in range(num_speakers):
        pitch = rng.uniform(150, 400)
        timbre = rng.dirichlet(np.ones(4))
        for word in list(_WORDS)[:num_words]:
            for _ in range(takes):
                samples = round(rng.uniform(0.4, 0.9) * seconds * sample_rate)
                factors = np.repeat(_WORDS[word], -(-samples // 3))[:samples]
                drift = pitch * rng.uniform(0.95, 1.05)
                phase = 2 * np.pi * np.cumsum(drift * factors) / sample_rate
                sung = sum(a * np.sin(phase * (i + 1)) for i, a in enumerate(timbre))
                noisy = sung * rng.uniform(0.1, 0.5) + rng.normal(0, 0.005, samples)
                waveforms.append((noisy.clip(-1, 1) * (2**15 - 1)).astype(np.int16))
                words.append(word)
                speakers.append(f"voice_{speaker}")
    return gather(waveforms, words, speakers, sample_rate, seconds)
