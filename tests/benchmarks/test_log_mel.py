"""The float features of the committed tables, and Keras's own, as files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keyword_parts.tones import tones
from log_mel import LogMel, frontend_model, mel_filters
from scipy.signal import ShortTimeFFT, get_window

from keras_share import export_tflite, predict_tflite

RATE = 8000


@pytest.fixture(scope="module")
def recordings():
    return tones(3, 5, 2, seconds=0.5)


def test_features_are_those_of_scipy(recordings):
    waveforms = recordings.x[:3]
    frontend = frontend_model(recordings.x, RATE, num_mels=16)
    window = get_window("hann", 256)
    fourier = ShortTimeFFT(window, 128, RATE, phase_shift=None)
    spectrum = fourier.stft(waveforms, p0=1, p1=1 + (4000 - 256) // 128 + 1, k_offset=0)
    energy = np.abs(spectrum.swapaxes(1, 2) * 2 / 256) ** 2
    bands = tf.signal.linear_to_mel_weight_matrix(16, 129, RATE, 60.0, RATE / 2)
    expected = np.log(energy @ bands.numpy() + 1e-6)
    ours = keras.Model(frontend.input, frontend.get_layer("log_mel").output)
    np.testing.assert_allclose(ours(waveforms), expected, atol=1e-3)
    features = np.asarray(frontend(recordings.x))
    np.testing.assert_allclose(features.mean(axis=(0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(features.std(axis=(0, 1)), 1, atol=1e-3)


@pytest.mark.parametrize("rate, num_mels", [(8000, 24), (16000, 40)])
def test_no_band_is_empty(rate, num_mels):
    bands = mel_filters(round(0.032 * rate), rate, num_mels)
    assert (bands.max(axis=0) > 0.3).all() and bands.max() <= 1


@pytest.mark.parametrize("ours", [True, False])
def test_features_as_a_float_file(tmp_path, recordings, ours):
    x = recordings.x[:3]
    frontend = keras.Sequential(
        [
            keras.Input((4000,)),
            LogMel(RATE, 16)
            if ours
            else keras.layers.MelSpectrogram(
                # It cuts 80 dB below the loudest recording of a batch otherwise.
                *(256, 128),
                sampling_rate=RATE,
                num_mel_bins=16,
                top_db=300.0,
            ),
        ]
    )
    path = tmp_path / "frontend.tflite"
    export_tflite(frontend, path, representative_dataset=x)
    expected = np.asarray(frontend(x))
    np.testing.assert_allclose(predict_tflite(path, x), expected, atol=1e-4)


def test_a_saved_front_end_gives_the_same(tmp_path, recordings):
    frontend = frontend_model(recordings.x, RATE, num_mels=16)
    frontend.save(tmp_path / "frontend.keras")
    loaded = keras.saving.load_model(tmp_path / "frontend.keras", {"LogMel": LogMel})
    np.testing.assert_array_equal(
        loaded(recordings.x),
        frontend(recordings.x),
    )
