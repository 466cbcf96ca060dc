"""The features that firmware computes, bit for bit: TensorFlow's micro frontend.

Logarithms of the energies in mel bands; noise reduction and gain control are off. The C
code of `tensorflow/lite/experimental/microfrontend` computes them with integers, so
that they are the same in training, by the operator that comes with TensorFlow, as on a
microcontroller, where `tflite-micro` carries the code and wake words use it. As
convolutions in a `.tflite` file the Fourier transform would take 264 KB of kernels at
8 kHz and 1 MB at 16 kHz; the C code needs no kernels.
"""

import numpy as np
import tensorflow as tf
from tensorflow.lite.experimental.microfrontend.python.ops import (
    audio_microfrontend_op,
)

WINDOW_MS = 32
HOP_MS = 16
BANDS = 24
LOWEST_HZ = 60.0
LOWEST_RATE = 8_000  # of recordings: speech needs what is below 4 kHz
# A feature is one of 256 levels, which stand for 0 to 8: exact in int8 and as floats.
SCALE, ZERO_POINT = 1 / 32, -128
PER_LEVEL = 4  # integers of the C code, which go up to about 900


def settings(sample_rate: int) -> dict[str, float]:
    """What the front end is set to, in TensorFlow's words.

    What is not here is as by default, in the operator and in `FrontendConfig`.
    """
    return {
        "sample_rate": sample_rate,
        "window_size": WINDOW_MS,
        "window_step": HOP_MS,
        "num_channels": BANDS,
        "lower_band_limit": LOWEST_HZ,
        "upper_band_limit": 0.47 * sample_rate,
        "enable_pcan": False,
        "min_signal_remaining": 1.0,
    }


def integers_of(samples: np.ndarray, **settings: float) -> np.ndarray:
    """What the C code makes of 16-bit samples `(n,)`: integers `(frames, bands)`.

    Raises:
        ValueError: If the samples are of another type or shape.
    """
    if np.ndim(samples) != 1 or np.asarray(samples).dtype != np.int16:
        raise ValueError(
            "The front end takes a row of 16-bit samples (int16). Received: "
            f"{np.asarray(samples).dtype} of shape {np.shape(samples)}"
        )
    with tf.device("cpu"):
        row = tf.constant(samples)
        integers = audio_microfrontend_op.audio_microfrontend(row, **settings)
    return integers.numpy().astype(int)


def levels_of(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The int8 features of 16-bit samples, as an int8 file takes them.

    Args:
        samples: `(n,)`, the beginning of a stream.
        sample_rate: Samples per second.

    Returns:
        `(frames, BANDS)` of the frames that are complete.

    Raises:
        ValueError: As `integers_of`.
    """
    integers = integers_of(samples, **settings(sample_rate))
    levels = np.minimum(integers // PER_LEVEL, 255)
    return (levels + ZERO_POINT).astype(np.int8)


def features_of(waveforms: np.ndarray, sample_rate: int) -> np.ndarray:
    """Features of recordings, each as the beginning of a stream.

    Args:
        waveforms: From -1 to 1, `(n, samples)`.
        sample_rate: Samples per second.

    Returns:
        `(n, frames, BANDS)`, float32 from 0 to 8: what the int8 features stand for.

    Raises:
        ValueError: If the rate is too low, or the recordings are shorter than a frame.
    """
    if sample_rate < LOWEST_RATE:
        raise ValueError(
            f"Recordings must have {LOWEST_RATE} samples per second or more, as speech "
            f"needs what is below 4 kHz. Received: sample_rate={sample_rate}"
        )
    if waveforms.shape[1] < WINDOW_MS * sample_rate // 1000:
        raise ValueError(
            f"A recording must last {WINDOW_MS} ms or more, for one frame of features. "
            f"Received: {waveforms.shape[1]} samples at {sample_rate} Hz"
        )
    samples = np.rint(waveforms * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    return to_float(np.stack([levels_of(row, sample_rate) for row in samples]))


def to_float(levels: np.ndarray) -> np.ndarray:
    """The real numbers that int8 features stand for."""
    return (levels.astype("float32") - ZERO_POINT) * np.float32(SCALE)


def with_all_levels(samples: np.ndarray) -> np.ndarray:
    """Samples by which an input gets the range of the front end, exactly.

    Quantized with it, a network takes the integers of the front end as they are.
    """
    samples = samples.copy()
    samples[0, 0, :2] = to_float(np.array([-128, 127]))
    return samples
