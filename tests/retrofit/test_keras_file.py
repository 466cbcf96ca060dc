"""A `.keras` file from elsewhere: no code of its own runs, and any damage is told."""

import copy
import io
import json
import random
import zipfile

import keras
import numpy as np
import pytest

import keras_share
from keras_share.retrofit.keras_file import load_keras_file

RAN = []


def block():
    """What would run code if Keras unpickled it."""
    spy = keras.layers.Lambda(lambda x: (RAN.append(1), x)[1])
    return keras.Sequential([keras.Input((4,)), spy, keras.layers.Dense(4)])


def in_sequence(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def tied():
    first = block()
    return in_sequence(first, keras_share.Tied(first))


def stacked(**options):
    return in_sequence(
        keras_share.SharedStack(block(), "shared", num_sites=3, **options)
    )


def quantized(model):
    samples = np.random.default_rng(0).uniform(size=(8, 4)).astype("float32")
    return keras_share.quantize_model(model, representative_dataset=samples)


MODELS = {
    "tied": tied,
    "stack": stacked,
    "loop": lambda: stacked(unroll=False),
    "relaxed": lambda: stacked(relax=keras_share.LowRank(1)),
    "shared": lambda: keras_share.share(in_sequence(block(), block()), "shared"),
    "quantized": lambda: quantized(in_sequence(block())),
}


@pytest.mark.parametrize("kind", MODELS)
def test_no_code_of_the_file_runs(kind, tmp_path):
    MODELS[kind]().save(tmp_path / "model.keras")
    RAN.clear()
    with pytest.raises(ValueError, match=r"'.*model\.keras': ValueError: .*Lambda"):
        load_keras_file(tmp_path / "model.keras")
    assert not RAN


def places(value, path=()):
    """The way to every value in a JSON document."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*path, key)
        if isinstance(value[key], (dict, list)):
            yield from places(value[key], (*path, key))


def changed(config, path, value):
    config = copy.deepcopy(config)
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return config


def damaged(content):
    """So many times one file with something in it that doesn't belong there."""
    draw = random.Random(0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    odd = [None, -1, 1e400, "x", [], [[[]]], {}, {"class_name": "Dense", "config": {}}]
    configs = [
        json.dumps(changed(config, path, draw.choice(odd))).encode()
        for path in draw.sample(list(places(config)), 40)
    ]
    configs += [b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000]
    weights = []
    for _ in range(15):
        some = bytearray(parts["model.weights.h5"])
        for _ in range(4):
            some[draw.randrange(len(some))] = draw.randrange(256)
        weights.append(
            bytes(some[: draw.choice([len(some), draw.randrange(len(some))])])
        )
    for name, values in {"config.json": configs, "model.weights.h5": weights}.items():
        for value in values:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for other, part in parts.items():
                    archive.writestr(other, value if other == name else part)
            yield file.getvalue()
    yield content[: len(content) // 2]
    yield b""


def test_any_damage_is_a_value_error_that_names_the_file(tmp_path):
    stack = keras_share.SharedStack(
        keras.layers.Dense(4), "cycle:2", num_sites=4, relax=keras_share.LowRank(1)
    )
    path = tmp_path / "model.keras"
    in_sequence(stack).save(path)
    refused = 0
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        try:
            load_keras_file(path)
        except ValueError as error:
            assert str(error).startswith("A Keras model must be"), error
            refused += 1
    assert refused > 40
