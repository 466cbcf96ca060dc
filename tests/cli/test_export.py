"""`export`: from a `.keras` file to a `.tflite` file."""

import os
import zipfile

import keras
import numpy as np
import pytest

import keras_share
from keras_share.cli.main import program
from keras_share.export.target import TARGETS
from keras_share.quantize.quantization import CONVERTED


@pytest.fixture
def arguments(monkeypatch):
    """What `export_tflite` is called with, which does nothing."""
    called = {}

    def export_tflite(model, path, **kwargs):
        called.update(kwargs, model=model, path=path)
        return keras_share.audit("model.tflite")

    monkeypatch.setattr("keras_share.export.convert.export_tflite", export_tflite)
    return called


def test_export(cli_json, here):
    (here / "labels.txt").write_text("cat\ndog\nÄpfel\n", encoding="utf-8")
    facts = cli_json(
        "export model.keras -o int8.tflite --target micro --labels labels.txt "
        "--representative samples.npy --input-type int8 --output-type int8"
    )
    report = keras_share.audit("int8.tflite")
    assert report.metadata["labels"] == ["cat", "dog", "Äpfel"]
    assert report.metadata["target"] == "micro"
    assert report.float_operators == facts["float_operators"] == {}
    assert facts["file_bytes"] == (here / "int8.tflite").stat().st_size


def test_options_are_the_arguments(cli, arguments):
    done = cli(
        "export model.keras -o out.tflite --quantization dynamic --dynamic-batch "
        "--no-strict --timeout 9"
    )
    assert done.stdout == f"{keras_share.audit('model.tflite')}\n"
    assert arguments.pop("model").name == "small"
    assert arguments == {
        "path": "out.tflite",
        "target": "auto",
        "quantization": "dynamic",
        "inference_input_type": "float32",
        "inference_output_type": "float32",
        "dynamic_batch": True,
        "strict": False,
        "timeout": 9.0,
    }


def test_choices_are_those_of_python():
    choices = {p.name: p for p in program.commands["export"].params}
    assert sorted(choices["target"].type.choices) == sorted(TARGETS)
    assert sorted(choices["quantization"].type.choices) == sorted(CONVERTED)


def test_samples(cli, here, arguments):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 3, 4)).astype("float32")
    np.save("one.npy", one)
    np.savez("one.npz", x=one)
    np.savez("order.npz", one, two)
    np.savez_compressed("names.npz", b=one, a=two)

    def read(name):
        cli(f"export model.keras -o out.tflite --representative {name}")
        return arguments["representative_dataset"]

    assert (read("one.npy") == one).all()
    assert [a.tolist() for a in read("one.npz")] == [one.tolist()]
    assert [a.tolist() for a in read("order.npz")] == [one.tolist(), two.tolist()]
    named = read("names.npz")
    assert named["b"].tolist() == one.tolist()
    assert named["a"].tolist() == two.tolist()


@pytest.mark.parametrize("kind", ["text", "objects", "empty", "zip", "no arrays"])
def test_samples_at_fault(kind, cli, here):
    if kind == "objects":
        np.save("samples.npy", np.array([{}]))
    elif kind == "no arrays":
        with zipfile.ZipFile("samples.npy", "w") as file:
            file.writestr("x", "y")
    else:
        content = {"text": b"1, 2, 3", "empty": b"", "zip": b"PK\x03\x04 damaged"}
        (here / "samples.npy").write_bytes(content[kind])
    line = "export model.keras -o out.tflite --quantization int8 --representative"
    assert "--representative " in cli(f"{line} samples.npy", 1).stderr
    assert not os.path.exists("out.tflite")


@pytest.mark.parametrize("kind", ["text", "zip", "layer", "gone"])
def test_models_at_fault(kind, cli, here):
    if kind == "layer":

        class Unknown(keras.layers.Dense):
            pass

        x = keras.Input((2,))
        keras.Model(x, Unknown(2)(x)).save("bad.keras")
    elif kind != "gone":
        (here / "bad.keras").write_bytes(b"PK\x03\x04" if kind == "zip" else b"text")
    done = cli("export bad.keras -o out.tflite", 1)
    assert "A Keras model must be" in done.stderr and "'bad.keras'" in done.stderr
    assert done.stdout == "" and not os.path.exists("out.tflite")


def test_errors_name_options(cli, here):
    done = cli("export model.keras -o out.tflite --input-type int16", 1)
    assert "--input-type must be" in done.stderr
    assert "Received: --input-type='int16'" in done.stderr
    done = cli("export model.keras -o out.tflite --quantization int8", 1)
    assert "--representative is needed" in done.stderr


def test_the_model_stays(cli, here):
    before = (here / "model.keras").read_bytes()
    done = cli("export model.keras -o ./model.keras", 2)
    assert "take the place of MODEL.keras" in done.stderr
    assert (here / "model.keras").read_bytes() == before


def test_another_backend_is_no_bug(cli, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    done = cli("export model.keras -o out.tflite", 1)
    assert "KERAS_BACKEND=tensorflow" in done.stderr


@pytest.mark.parametrize("damage", ["cut", "claims", "bytes", "bomb"])
def test_samples_that_are_damaged(damage, cli, here):
    path = here / "samples.npz"
    if damage == "bomb":
        np.savez_compressed(
            path, x=np.zeros(2**24, "uint8"), y=np.zeros(2**24, "uint8")
        )
    elif damage == "claims":
        array = np.lib.format.MAGIC_PREFIX + bytes([1, 0])
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (70000000000000,)}"
        path = here / "samples.npy"
        path.write_bytes(array + bytes([len(header), 0]) + header.encode())
    else:
        np.savez_compressed(path, x=np.arange(1000.0))
        data = bytearray(path.read_bytes())
        if damage == "bytes":
            data[100:140] = bytes(40)
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    done = cli(
        f"export model.keras -o x.tflite --quantization int8 --representative {path}", 1
    )
    assert "must be a file of numpy.save or numpy.savez" in done.output


def test_labels_that_are_no_text(cli, here):
    (here / "labels.txt").write_bytes("Äpfel".encode("latin-1"))
    done = cli("export model.keras -o x.tflite --labels labels.txt", 1)
    assert "text in UTF-8. Received: 'labels.txt'" in done.output
