"""Recordings, splits and features of the keyword spotting example."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keyword_parts import datasets
from keyword_parts.augmentation import Augmentation, disguised_features
from keyword_parts.batches import Batches
from keyword_parts.datasets import load_data
from keyword_parts.frontend import LogMel, frontend_model, mel_filters
from keyword_parts.on_device import export_frontend
from keyword_parts.recordings import gather, load_npz, of_length
from keyword_parts.split import Split, split_by_speaker
from keyword_parts.tones import tones
from keyword_parts.wav_folder import describe, load_folder
from scipy.io import wavfile
from scipy.signal import ShortTimeFFT, get_window

from keras_share.tflite.runtimes.micro import run_micro

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
    ours, names = load_folder(tmp_path, seconds=0.05)
    assert names == [
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
    ours, _ = load_folder(tmp_path, seconds=1.0)
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
    lengths = np.random.default_rng(0).integers(100, 4000, len(recordings))
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
    np.testing.assert_allclose(ours.predict(waveforms, verbose=0), expected, atol=1e-3)
    features = frontend.predict(recordings.x, verbose=0)
    np.testing.assert_allclose(features.mean(axis=(0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(features.std(axis=(0, 1)), 1, atol=1e-3)


@pytest.mark.parametrize("rate, num_mels", [(8000, 24), (16000, 40)])
def test_no_band_is_empty(rate, num_mels):
    bands = mel_filters(round(0.032 * rate), rate, num_mels)
    assert (bands.max(axis=0) > 0.3).all() and bands.max() <= 1


def test_the_front_end_as_a_file(tmp_path, recordings):
    frontend = frontend_model(recordings.x, RATE, num_mels=16)
    path = tmp_path / "frontend.tflite"
    assert export_frontend(frontend, path, recordings.x[:3]) < 1e-4
    pytest.importorskip("tflite_micro")
    run = run_micro(path, recordings.x[:3])
    expected = frontend.predict(recordings.x[:3], verbose=0)
    np.testing.assert_allclose(run.outputs, expected, atol=1e-4)


def test_a_saved_front_end_gives_the_same(tmp_path, recordings):
    frontend = frontend_model(recordings.x, RATE, num_mels=16)
    frontend.save(tmp_path / "frontend.keras")
    loaded = keras.saving.load_model(tmp_path / "frontend.keras", {"LogMel": LogMel})
    np.testing.assert_array_equal(
        loaded.predict(recordings.x, verbose=0),
        frontend.predict(recordings.x, verbose=0),
    )


def test_augmentation_that_changes_nothing(recordings):
    rng = np.random.default_rng(0)
    none = Augmentation(0, 0, 0, 300, 0, 0)
    x = recordings.x
    np.testing.assert_allclose(none.disguise(x, rng), x, atol=1e-6)
    np.testing.assert_array_equal(none.mask(x[..., None], rng), x[..., None])


def test_disguises(recordings):
    rng = np.random.default_rng(0)
    x = recordings.x
    shifted = Augmentation(0.2, 0, 0, 300).disguise(x, rng)
    moves = [
        np.argmax(np.correlate(a, b, "full")) for a, b in zip(shifted, x, strict=True)
    ]
    moves = np.array(moves) - (x.shape[1] - 1)
    assert 0.1 * x.shape[1] < np.abs(moves).max() <= 0.2 * x.shape[1]
    louder = Augmentation(0, 0, 6, 300).disguise(x / 4, rng)
    decibels = 10 * np.log10((louder**2).sum(axis=1) / (x**2 / 16).sum(axis=1))
    assert 4 < np.abs(decibels).max() <= 6.001
    noisy = Augmentation(0, 0, 0, 10).disguise(x / 4, rng) - x / 4
    decibels = 10 * np.log10((noisy**2).sum(axis=1) / (x**2 / 16).sum(axis=1))
    assert -51 < decibels.min() < -40 and -20 < decibels.max() < -9


def test_masks():
    rng = np.random.default_rng(0)
    x = np.ones((500, 20, 10), "float32")
    masked = Augmentation(mask_frames=4, mask_mels=3).mask(x, rng) == 0
    frames, mels = masked.all(axis=2).sum(axis=1), masked.all(axis=1).sum(axis=1)
    assert set(frames) == {0, 1, 2, 3, 4} and set(mels) == {0, 1, 2, 3}
    assert (masked.sum(axis=(1, 2)) == 10 * frames + (20 - frames) * mels).all()


def test_batches_have_each_recording_once():
    labels = np.arange(10)
    features = labels[None, :, None, None] + 100.0 * np.arange(3)[:, None, None, None]
    features = np.broadcast_to(features, (3, 10, 2, 2)).astype("float32")
    batches = Batches(features, labels, Augmentation(mask_frames=0, mask_mels=0), 4, 0)
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


def test_disguised_features(recordings):
    frontend = frontend_model(recordings.x, RATE, num_mels=8)
    none = Augmentation(0, 0, 0, 300)
    features = disguised_features(recordings.x, frontend, none, 2, seed=0)
    expected = frontend.predict(recordings.x, verbose=0)
    for disguise in features:
        np.testing.assert_allclose(disguise, expected, atol=1e-3)


def test_tones_are_the_same_each_time():
    one, same, other = (tones(2, 3, 2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.waveforms, same.waveforms)
    assert (one.waveforms != other.waveforms).any()
    assert len(one) == 12 and len(set(one.speakers)) == 3 and len(one.words) == 2
    with pytest.raises(ValueError, match="at least two words"):
        gather([], [], [], RATE, 1.0)
