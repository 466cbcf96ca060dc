"""Recordings, splits and features of the keyword spotting example."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keyword_parts import datasets
from keyword_parts.augmentation import Augmentation
from keyword_parts.batches import Batches
from keyword_parts.datasets import load_data
from keyword_parts.frontend import (
    BANDS,
    SCALE,
    ZERO_POINT,
    features_of,
    integers_of,
    levels_of,
    with_all_levels,
)
from keyword_parts.recordings import gather, load_npz, of_length
from keyword_parts.split import Split, split_by_speaker
from keyword_parts.tones import tones
from keyword_parts.wav_folder import describe, load_folder
from scipy.io import wavfile

from keras_share import export_tflite, quantize_model

RATE = 8000


@pytest.fixture(scope="module")
def recordings():
    return tones(3, 5, 2, seconds=0.5)


def write(folder, name, samples=400, rate=RATE, dtype="int16", channels=()):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    values = rng.integers(-(2**12), 2**12, (samples, *channels))
    wavfile.write(path, rate, values.astype(dtype))
    return values


@pytest.mark.parametrize(
    "name, expected",
    [
        ("yes/0a7c2a8d_nohash_3.wav", ("yes", "0a7c2a8d")),
        ("yes/anna/take one.wav", ("yes", "anna")),
        ("7/7_jackson_12.wav", ("7", "jackson")),
        ("7_jackson_12.wav", ("7", "jackson")),
        ("yes/recording.wav", ("yes", "yes/recording.wav")),
    ],
)
def test_names_tell_word_and_speaker(name, expected):
    assert describe(name) == expected


def test_a_folder_of_recordings(tmp_path):
    first = write(tmp_path, "no/a_nohash_0.wav", 300)
    long = write(tmp_path, "no/b_nohash_0.wav", 900)
    stereo = write(tmp_path, "yes/a_nohash_1.wav", 400, channels=(2,))
    write(tmp_path, "yes/c_nohash_0.wav", 800, rate=2 * RATE)
    write(tmp_path, "_background_noise_/hum.wav")
    ours = load_folder(tmp_path, seconds=0.05)
    assert ours.names.tolist() == [
        "no/a_nohash_0.wav",
        "no/b_nohash_0.wav",
        "yes/a_nohash_1.wav",
        "yes/c_nohash_0.wav",
    ]
    assert ours.words == ("no", "yes") and ours.sample_rate == RATE
    assert ours.labels.tolist() == [0, 0, 1, 1]
    assert ours.speakers.tolist() == ["a", "b", "a", "c"]
    assert ours.waveforms.shape == (4, 400) and ours.waveforms.dtype == "int16"
    np.testing.assert_array_equal(ours.waveforms[0, 50:350], first)
    assert not ours.waveforms[0, :50].any() and not ours.waveforms[0, 350:].any()
    energies = [np.sum(long[i : i + 400] ** 2) for i in range(501)]
    np.testing.assert_array_equal(ours.waveforms[1], long[np.argmax(energies) :][:400])
    np.testing.assert_allclose(ours.waveforms[2], stereo.mean(axis=1), atol=0.5)


def test_resampling_keeps_the_tone(tmp_path):
    time = np.arange(2 * RATE) / (2 * RATE)
    tone = (2**14 * np.sin(2 * np.pi * 440 * time)).astype("int16")
    for i, rate in enumerate((RATE, RATE, 2 * RATE)):
        path = tmp_path / f"{i}_someone_0.wav"
        wavfile.write(path, rate, tone[:: 2 * RATE // rate])
    ours = load_folder(tmp_path, seconds=1.0)
    assert ours.sample_rate == RATE
    inside = slice(100, -100)
    np.testing.assert_allclose(
        ours.waveforms[2, inside], ours.waveforms[0, inside], atol=2**14 * 0.01
    )


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must exist.*Received: .*missing"):
        load_folder(tmp_path / "missing", 1.0)
    write(tmp_path, "yes/a_nohash_0.wav")
    with pytest.raises(ValueError, match=r"two words\. Received: 1 recordings of \['y"):
        load_folder(tmp_path, 1.0)
    with pytest.raises(ValueError, match=r"there are none of \['no'\]"):
        load_folder(tmp_path, 1.0, ["yes", "no"])
    write(tmp_path, "no/a_nohash_0.wav", dtype="int32")
    with pytest.raises(ValueError, match=r"16-bit PCM\. Received: .*a_nohash_0.wav'"):
        load_folder(tmp_path, 1.0)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 20])
def test_any_length_becomes_the_same(length):
    assert of_length(np.arange(length, dtype="int16"), 8).shape == (8,)


def test_an_npz_file(tmp_path, recordings):
    lengths = np.random.default_rng(0).integers(2000, 4000, len(recordings))
    rows = [row[:n] for row, n in zip(recordings.waveforms, lengths, strict=True)]
    arrays = {
        "audio": np.concatenate(rows),
        "offset": np.cumsum([0, *lengths]),
        "digit": recordings.labels.astype("int8"),
        "speaker": recordings.speakers,
    }
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(ValueError, match=r"lacks \['sample_rate'\]"):
        load_npz(tmp_path / "some.npz", 0.5)
    np.savez(tmp_path / "digits.npz", **arrays, sample_rate=RATE)
    ours = load_npz(tmp_path / "digits.npz", 0.5)
    assert ours.words == ("0", "1", "2") and ours.sample_rate == RATE
    np.testing.assert_array_equal(ours.labels, recordings.labels)
    for waveform, row in zip(ours.waveforms, rows, strict=True):
        np.testing.assert_array_equal(waveform, of_length(row, 4000))
    split = load_data(str(tmp_path / "digits.npz"), seconds=0.5).split
    assert sum(map(len, (split.train, split.validation, split.test))) == len(ours)


@pytest.mark.parametrize("seed", range(10))
def test_no_speaker_is_in_two_parts(seed, recordings):
    split = split_by_speaker(recordings, seed)
    parts = [set(p.speakers) for p in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert set.union(*parts) == set(recordings.speakers)


def test_bad_splits(recordings):
    half = recordings[: len(recordings) // 2]
    with pytest.raises(ValueError, match=r"two parts of a split.*twice: voice_0, vo"):
        Split(recordings, half, half)
    two = recordings[np.isin(recordings.speakers, ["voice_0", "voice_3"])]
    with pytest.raises(ValueError, match=r"least 3 speakers.*Received: voice_0, voic"):
        split_by_speaker(two)
    with pytest.raises(
        ValueError, match=r"all have recordings\. Received: \[30, 0, 15"
    ):
        Split(recordings, recordings[:0], half)


def test_lists_of_a_data_set_are_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(vars(datasets), "_download", lambda name: tmp_path)
    for word in (*datasets.COMMANDS, "wow"):
        for who in "abcd":
            write(tmp_path, f"{word}/{who}_nohash_0.wav")
    for file, who in (("validation_list.txt", "c"), ("testing_list.txt", "a")):
        lines = [f"{word}/{who}_nohash_0.wav" for word in ("wow", *datasets.COMMANDS)]
        (tmp_path / file).write_text("\n".join(lines))
    data = load_data("speech-commands", seconds=0.05)
    assert set(data.split.train.words) == set(datasets.COMMANDS)
    assert set(data.split.train.speakers) == {"b", "d"}
    assert set(data.split.validation.speakers) == {"c"}
    assert set(data.split.test.speakers) == {"a"}
    assert "by the lists" in data.remark
    # A list that divides a speaker is found out.
    (tmp_path / "testing_list.txt").write_text("yes/b_nohash_0.wav")
    with pytest.raises(ValueError, match=r"Received twice: b"):
        load_data("speech-commands", seconds=0.05)


def test_unknown_speakers_are_told(tmp_path):
    for i in range(20):
        write(tmp_path, f"{'yes' if i % 2 else 'no'}/take{i}.wav")
    assert "by file" in load_data(str(tmp_path)).remark
    for i in range(4):
        write(tmp_path, f"no/{i}_nohash_0.wav")
    assert "for 20 files" in load_data(str(tmp_path)).remark


@pytest.mark.parametrize("level, same", [(100, 1.0), (3000, 0.99)])
def test_features_are_those_of_firmware_bit_for_bit(level, same):
    """Another build of the C code, given 10 ms after 10 ms as from a microphone.

    It has another version of KISS FFT, which rounds loud sounds differently at times.
    """
    x = np.random.default_rng(0).normal(scale=level, size=16_000).astype("int16")
    stream, rows = pytest.importorskip("pymicro_features").MicroFrontend(), []
    for hop in x.astype("<i2").reshape(-1, 160):
        values = stream.process_samples(hop.tobytes()).features  # divided by 25.6
        rows += [[round(25.6 * value) for value in values]] if values else []
    frame = {"window_size": 30, "window_step": 10, "num_channels": 40}
    at_once = integers_of(x, **frame)
    assert at_once.shape == (98, 40) and len(np.unique(at_once)) > 100
    assert np.mean(at_once == rows) >= same


def test_features_of_a_beginning_are_the_beginning_of_the_features(recordings):
    x = recordings.waveforms[0]
    whole = levels_of(x, RATE)
    assert whole.shape == (30, BANDS) and len(np.unique(whole)) > 50
    for size in (256, 383, 384, 2000):
        first = levels_of(x[:size], RATE)
        assert len(first) == (size - 256) // 128 + 1
        np.testing.assert_array_equal(first, whole[: len(first)])
    np.testing.assert_array_equal(
        features_of(recordings.x[:1], RATE)[0] / SCALE + ZERO_POINT, whole
    )


@pytest.mark.parametrize("rate, band", [(8000, 10), (16_000, 7)])
def test_features_are_logarithms_of_the_energy_in_bands(rate, band):
    """A tone is in its band, and ten times louder it is so many levels higher."""
    time = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 1000 * time) * (time > 0.5)
    soft, loud = (features_of(level * tone[None], rate)[0] for level in (0.05, 0.5))
    assert not loud[:28].any() and loud[40].argmax() == band
    # 64 integers are a factor of e, and 4 of them one level.
    steps = (loud[40, band] - soft[40, band]) / SCALE
    assert abs(steps - 64 * np.log(10) / 4) <= 1


def test_a_network_takes_the_integers_of_the_front_end(recordings, tmp_path):
    features = with_all_levels(features_of(recordings.x, RATE))
    network = keras.Sequential(
        [keras.Input(features.shape[1:], name="features"), keras.layers.Dense(2)]
    )
    quantized = quantize_model(network, features)
    path = tmp_path / "network.tflite"
    export_tflite(quantized, path, inference_input_type="int8")
    [taken] = Interpreter(str(path)).get_input_details()
    assert taken["quantization"] == (SCALE, ZERO_POINT)


def test_audio_that_cannot_be_heard(recordings):
    with pytest.raises(ValueError, match=r"8000 samples per second.*sample_rate=4000"):
        features_of(recordings.x, 4000)
    with pytest.raises(ValueError, match=r"last 32 ms or more.*Received: 200 samp"):
        features_of(recordings.x[:, :200], RATE)
    with pytest.raises(ValueError, match=r"row of 16-bit samples.*float32"):
        levels_of(recordings.x[0], RATE)
    facts = ["a", "b", "c"], RATE, 0.5
    loud = recordings.waveforms[:3]
    with pytest.raises(ValueError, match=r"one frame of features, to 60.*seconds=0"):
        gather(loud, ["x", "y", "y"], *facts[:2], 0)
    loud = list(loud)
    loud[1] = np.zeros(4000, "int16")
    with pytest.warns(UserWarning, match="1 of 3 recordings are silent.*words y"):
        kept = gather(loud, ["x", "y", "y"], *facts)
    assert kept.speakers.tolist() == ["a", "c"] and kept.words == ("x", "y")
    with (
        pytest.warns(UserWarning, match="silent"),
        pytest.raises(ValueError, match="only silent ones of y"),
    ):
        gather(loud, ["x", "y", "x"], *facts)
    loud[1] = np.sign(loud[0]) * np.int16(2**15 - 1)
    with pytest.warns(UserWarning, match="1 of 3 recordings are clipped.*of the wor"):
        assert len(gather(loud, ["x", "y", "y"], *facts)) == 3


def test_batches_have_each_recording_once():
    labels = np.arange(10)
    features = labels[None, :, None, None] + 100.0 * np.arange(3)[:, None, None, None]
    features = np.broadcast_to(features, (3, 10, 2, 2)).astype("float32")
    batches = Batches(
        features, labels, Augmentation(mask_frames=0, mask_mels=0, tone=0), 4, 0
    )
    epochs = []
    for _ in range(2):
        rows = [batches[i] for i in range(len(batches))]
        assert [len(y) for _, y in rows] == [4, 4, 2]
        x, y = (np.concatenate(column) for column in zip(*rows, strict=True))
        np.testing.assert_array_equal(x[:, 0, 0] % 100, y)
        assert sorted(y) == list(labels)
        epochs.append((x, y))
        batches.on_epoch_end()
    assert (epochs[0][1] != epochs[1][1]).any() and (epochs[0][0] >= 100).any()


def test_tones_are_the_same_each_time():
    one, same, other = (tones(2, 3, 2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.waveforms, same.waveforms)
    assert (one.waveforms != other.waveforms).any()
    assert len(one) == 12 and len(set(one.speakers)) == 3 and len(one.words) == 2
    with pytest.raises(ValueError, match="at least two words"):
        gather([], [], [], RATE, 1.0)
