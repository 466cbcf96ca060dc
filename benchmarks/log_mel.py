"""Log-mel features as a Keras model: those that the committed tables were made with.

What goes on a device is the front end of `examples/keyword_parts/frontend.py`.
"""

import keras
import numpy as np
from keras import layers, ops

FRAME_SECONDS = 0.032
HOP_SECONDS = 0.016
LOWEST_HZ = 60.0
_FLOOR = 1e-6  # of the energy in a band, below the noise of most microphones


class LogMel(layers.Layer):
    """Logarithm of the energy in mel bands, frame by frame.

    The Fourier transform is a convolution with fixed kernels: all that is left in a
    `.tflite` file are ordinary operators, which microcontrollers have as well.

    Args:
        sample_rate: Samples per second.
        num_mels: Number of bands, from 60 Hz to half the sample rate.
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: Waveforms of shape `(batch, samples)`, from -1 to 1.

    Output shape:
        `(batch, frames, num_mels)`.
    """

    def __init__(self, sample_rate: int, num_mels: int = 40, **kwargs):
        super().__init__(**kwargs)
        self.sample_rate = sample_rate
        self.num_mels = num_mels
        self.frame = round(FRAME_SECONDS * sample_rate)
        self.hop = round(HOP_SECONDS * sample_rate)

    def build(self, input_shape):
        self.waves = fourier_kernels(self.frame)[:, None]
        self.bands = mel_filters(self.frame, self.sample_rate, self.num_mels)

    def call(self, inputs):
        spectrum = ops.conv(inputs[..., None], self.waves, self.hop, padding="valid")
        real, imaginary = ops.split(spectrum, 2, axis=-1)
        energy = ops.square(real) + ops.square(imaginary)
        return ops.log(ops.matmul(energy, self.bands) + _FLOOR)

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "num_mels": self.num_mels,
        }


def fourier_kernels(frame: int) -> np.ndarray:
    """Cosines and sines under a Hann window, `(frame, 2 * bins)`."""
    time = np.arange(frame)
    phase = 2 * np.pi * np.outer(time, np.arange(frame // 2 + 1)) / frame
    window = np.sin(np.pi * time / frame) ** 2
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    return (window[:, None] * waves * 2 / frame).astype("float32")


def mel_filters(frame: int, sample_rate: int, num_mels: int) -> np.ndarray:
    """Triangles of equal width on the mel scale, `(bins, num_mels)`.

    Reference:
    - [Young et al., The HTK Book, 2006](https://htk.eng.cam.ac.uk), section 5.4
    """

    def mel(hertz):
        return 1127 * np.log1p(hertz / 700)

    bins = mel(np.arange(frame // 2 + 1) * sample_rate / frame)[:, None]
    edges = np.linspace(mel(LOWEST_HZ), mel(sample_rate / 2), num_mels + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype("float32")


def frontend_model(
    waveforms: np.ndarray, sample_rate: int, num_mels: int = 40
) -> keras.Model:
    """Log-mel features of mean 0 and variance 1 in each band.

    Args:
        waveforms: What is trained on, `(n, samples)`, from which mean and variance
            are taken.
        sample_rate: Samples per second.
        num_mels: Number of bands.
    """
    inputs = keras.Input(waveforms.shape[1:], name="waveform")
    log_mel = LogMel(sample_rate, num_mels, name="log_mel")
    normalization = layers.Normalization(name="normalization")
    features = keras.Model(inputs, log_mel(inputs))
    normalization.adapt(features.predict(waveforms, batch_size=64, verbose=0))
    return keras.Model(inputs, normalization(features.output), name="frontend")
