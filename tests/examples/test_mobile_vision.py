"""The mobile vision example does the whole job; here with the tiniest networks."""

import dataclasses

import keras
import mobile_vision
import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from mobile_parts import images, network, picture, table
from mobile_vision import QUICK, Settings
from random_data import randomize, values

from keras_share import audit, roll

SETTINGS = dataclasses.replace(
    QUICK, width=32, num_sites=2, max_images=40, batch_size=8, precisions=("int8",)
)
NETWORKS = ("dense", "relaxed")
FILES = ["dense_int8.tflite", "relaxed_int8.tflite", "relaxed_int8_rolled.tflite"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    build_networks = mobile_vision.build_networks
    compile_model = keras.Model.compile

    def fewer_networks(*args):
        networks = build_networks(*args)
        return {name: networks[name] for name in NETWORKS}

    def compile_eagerly(*args, **kwargs):
        """Of so few steps, tracing takes longer than running."""
        compile_model(*args, **kwargs, run_eagerly=True)

    folder = tmp_path_factory.mktemp("mobile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobile_vision, "build_networks", fewer_networks)
        patch.setattr(keras.Model, "compile", compile_eagerly)
        results = mobile_vision.run(folder, settings=SETTINGS)
    return folder, results


def test_everything_lands_in_the_folder(run):
    folder, results = run
    assert {path.name for path in folder.iterdir()} == {
        *FILES,
        *(f"{name}.keras" for name in NETWORKS),
        "mobile.png",
        "results.csv",
    }
    saved = pd.read_csv(folder / "results.csv", dtype={"error": str})
    pd.testing.assert_frame_equal(saved.fillna({"error": ""}), results)
    assert list(results.file) == FILES
    assert (results.error == "").all() and (results.median_ms > 0).all()
    assert results[["accuracy", "keras_accuracy"]].stack().between(0, 1).all()
    for row in results.itertuples():
        assert row.file_bytes == (folder / row.file).stat().st_size


def reference_outputs(path, x):
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    run = interpreter.get_signature_runner()
    return np.stack([list(run(image=image[None]).values()) for image in x])


def test_the_rolled_file_is_the_same_and_holds_each_weight_once(run):
    folder, results = run
    [row] = results[results.rolled].itertuples()
    assert row.rolled_difference < 1e-5
    x = images.load_images("digits", 32).test.x[:5]
    unrolled = folder / "relaxed_int8.tflite"
    np.testing.assert_array_equal(
        reference_outputs(folder / row.file, x), reference_outputs(unrolled, x)
    )
    report = audit(folder / row.file)
    assert report.duplicate_bytes == 0
    assert not report.float_operators
    bodies = roll(unrolled).bodies
    assert {body.calls for body in bodies} == {2}
    # The two dense layers are all that is shared; the scales in integers are kernels,
    # too, whose values may be equal.
    assert sum(body.kernel_bytes for body in bodies) >= 2 * 32 * 128


def test_what_is_shared_is_smaller(run):
    _, results = run
    size = results.set_index("file").file_bytes
    assert size["dense_int8.tflite"] - size["relaxed_int8.tflite"] > 32 * 128
    [row] = table.ratios(results).itertuples()
    assert (row.network, row.precision) == ("relaxed", "int8")
    times = results.set_index("file").median_ms
    rolled = times["relaxed_int8_rolled.tflite"]
    assert row.median_ms_of_unrolled == rolled / times["relaxed_int8.tflite"]
    assert row.median_ms_of_dense == rolled / times["dense_int8.tflite"]


def test_the_networks():
    networks = network.build_networks((32, 32, 1), 10, width=64, num_sites=4)
    sizes = {name: model.count_params() for name, model in networks.items()}
    assert sizes["dense"] - sizes["tied"] == 3 * (2 * 64 * 256 + 64 + 256)
    assert sizes["relaxed"] - sizes["tied"] == 4 * (64 + 256)
    assert 0.9 < sizes["small"] / sizes["tied"] < 1.1
    for name, model in networks.items():
        _, *places, width = model.get_layer("stack").output.shape
        assert places == [2, 2] and (width < 64 if name == "small" else width == 64)


def test_a_network_is_saved_and_loaded(tmp_path):
    networks = network.build_networks((16, 16, 3), 4, width=8, num_sites=2)
    randomize(networks["relaxed"])
    networks["relaxed"].save(tmp_path / "relaxed.keras")
    loaded = keras.saving.load_model(tmp_path / "relaxed.keras")
    x = values(3, 16, 16, 3)
    np.testing.assert_array_equal(loaded(x), networks["relaxed"](x))


def test_the_parts_of_the_digits_are_apart():
    split = images.load_images("digits", 8, seed=3)
    parts = [split.train, split.validation, split.test]
    assert [len(part) for part in parts] == [1144, 203, 450]
    rows = np.concatenate([part.x.reshape(len(part), -1) for part in parts])
    assert len(np.unique(rows, axis=0)) == 1797  # no two digits are the same
    assert rows.dtype == np.float32 and rows.min() == 0 and rows.max() == 1
    for part in parts:
        assert np.bincount(part.y).min() > 0.08 * len(part)
    assert [len(p) for p in (split.some(100).train, split.some(100).test)] == [96, 90]


def test_a_folder_of_images(tmp_path):
    for i in range(40):
        folder = tmp_path / ("cat", "dog")[i % 2]
        folder.mkdir(exist_ok=True)
        keras.utils.save_img(
            folder / f"{i}.png", np.full((9, 7, 3), 6.0 * i), scale=False
        )
    split = images.load_images(str(tmp_path), 16)
    assert split.classes == ["cat", "dog"]
    parts = [split.train, split.validation, split.test]
    assert [part.x.shape for part in parts] == [
        (25, 16, 16, 3),
        (5, 16, 16, 3),
        (10, 16, 16, 3),
    ]
    for part in parts:
        shade = np.round(part.x[:, 3, 3, 0] * 255 / 6).astype(int)
        np.testing.assert_array_equal(shade % 2, part.y)
    with pytest.raises(FileNotFoundError, match="digits, cifar10, or a folder with"):
        images.load_images(str(tmp_path / "none"), 16)


def test_cifar(monkeypatch):
    x = np.arange(40, dtype="uint8").repeat(32 * 32 * 3).reshape(40, 32, 32, 3)
    y = np.arange(40)[:, None] % 2
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: ((x, y), (x[:7] + 200, y[:7]))
    )
    split = images.load_images("cifar10", 32)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [34, 6, 7]
    assert split.test.x.min() > split.train.x.max() and len(split.classes) == 10
    for part in (split.train, split.validation):
        shade = np.round(part.x[:, 0, 0, 0] * 255).astype(int)
        np.testing.assert_array_equal(shade % 2, part.y)


def test_the_pareto_front():
    points = [(1, 0.5), (2, 0.5), (2, 0.7), (3, 0.6), (4, 0.9), (np.nan, 1.0)]
    frame = pd.DataFrame(points, columns=["median_ms", "accuracy"])
    front = picture.pareto_front(frame, "median_ms")
    assert list(front.index) == [0, 2, 4]


def test_the_command_line(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(mobile_vision, "run", lambda *args: given.append(args))

    def told(*arguments):
        monkeypatch.setattr("sys.argv", ["mobile_vision.py", *arguments])
        mobile_vision.main()
        return given.pop()

    folder, *rest = told()
    assert folder.name == "mobile_results" and rest == ["digits", Settings()]
    arguments = ["--quick", "--epochs", "3", "--precisions", "int8", "float32"]
    settings = dataclasses.replace(QUICK, epochs=3, precisions=["int8", "float32"])
    assert told(*arguments, "--output", str(tmp_path), "--data", "cifar10") == (
        tmp_path,
        "cifar10",
        settings,
    )
