"""Damaged files: a clear error or a result, at once.

`FUZZ=10000 pytest tests/tflite/test_fuzz.py` tries more of them.
"""

import os
import struct
import time
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

import keras_share
from keras_share import SharedStack, audit, export_tflite, roll
from keras_share.tflite import dedupe
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.repeats.roll import roll_data

NUM_FILES = int(os.environ.get("FUZZ", "240"))
BATCHES = 6  # of files: a test for each
SECONDS = 1.0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small files of each kind, by what is special about them."""
    path = tmp_path_factory.mktemp("files") / "model.tflite"

    def tied(width=4):
        stack = SharedStack(layers.Dense(width, "relu"), "ABAB")
        return randomize(keras.Sequential([keras.Input((width,)), stack]))

    def export(model, **kwargs):
        export_tflite(model, path, **kwargs)
        return path.read_bytes()

    integers = keras_share.quantize_model(tied(), values(8, 4), ranges="group")
    labels = {"labels": ["cat", "dog"], "version": "1.0"}
    return {
        "float": export(tied(), target="accelerator"),
        # Smaller kernels the converter leaves as they are.
        "dynamic": export(tied(32), target="accelerator", quantization="dynamic"),
        "integers": export(integers, target="accelerator"),
        "rolled": export(tied(), target="cpu", quantization="float32"),
        "metadata": export(tied(), target="accelerator", metadata=labels),
    }


def flip_bits(rng, data):
    for place in rng.integers(len(data), size=rng.integers(1, 5)):
        data[place] ^= 1 << rng.integers(8)
    return data


def overwrite(rng, data):
    start, length = rng.integers(len(data)), rng.integers(1, 65)
    data[start : start + length] = rng.bytes(len(data[start : start + length]))
    return data


def truncate(rng, data):
    return data[: rng.integers(len(data))]


def splice(rng, data):
    """Offsets and numbers of one place stand in another."""
    to, source = 4 * rng.integers(len(data) // 4 - 8, size=2)
    length = 4 * rng.integers(1, 8)
    data[to : to + length] = data[source : source + length]
    return data


def set_number(rng, data):
    """Counts and offsets that are huge, negative or just beyond."""
    sizes = (2**31 - 1, 2**32 - 1, 2**31, 2**16, len(data), len(data) // 4, 0, 1, 127)
    for place in 4 * rng.integers(len(data) // 4, size=rng.integers(1, 4)):
        struct.pack_into("<I", data, int(place), sizes[rng.integers(len(sizes))])
    return data


def prefix(rng, data):
    data[:8] = rng.bytes(4) + b"TFL3"
    return data


def edit(rng, data):
    """A whole file whose tensors and operators say what can't be."""
    model = flatbuffer.read(bytes(data))
    numbers = (-(2**31), -1, 0, 1, 2, 7, 127, 2**31 - 1)
    nodes = [model, *(model.signatureDefs or ())]
    for graph in model.subgraphs:
        nodes += [graph, *graph.tensors, *graph.operators]
        nodes += [op.builtinOptions for op in graph.operators]
        nodes += [tensor.quantization for tensor in graph.tensors]
    for _ in range(rng.integers(1, 4)):
        node = nodes[rng.integers(len(nodes))]
        fields = vars(node) if node is not None else {}
        names = [k for k, v in fields.items() if isinstance(v, int | np.ndarray | list)]
        if not names:
            continue
        name = names[rng.integers(len(names))]
        value = getattr(node, name)
        if isinstance(value, int):
            value = numbers[rng.integers(len(numbers))]
        elif len(value) and isinstance(value, np.ndarray):
            value = value.copy()
            new = numbers[rng.integers(len(numbers))]
            value[rng.integers(len(value))] = np.array(new).astype(value.dtype)
            value = value[: len(value) - rng.integers(2)]
        else:
            value = None
        setattr(node, name, value)
    try:
        return bytearray(flatbuffer.pack(model))
    except Exception:  # what can't be written
        return data


MUTATIONS = (flip_bits, overwrite, truncate, splice, set_number, prefix)


def damaged(files, seed):
    """One of the files, damaged in one way or two."""
    rng = np.random.default_rng(seed)
    data = bytearray(list(files.values())[rng.integers(len(files))])
    if rng.random() < 0.4:
        data = edit(rng, data)
    else:
        for _ in range(rng.choice((1, 1, 2))):
            if len(data) > 64:
                data = MUTATIONS[rng.integers(len(MUTATIONS))](rng, data)
    return bytes(data)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_an_error_or_a_result(files, batch):
    errors = 0
    for seed in range(batch, NUM_FILES, BATCHES):
        data = damaged(files, seed)
        for function in (audit, dedupe, roll_data):
            start = time.monotonic()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    result = function(data)
                    if function is audit:
                        str(result), result.to_dict()
                except ValueError as error:
                    assert "Received" in str(error), (function.__name__, seed)
                    errors += 1
                except Exception as error:
                    where = f"{function.__name__}(damaged(files, {seed}))"
                    raise AssertionError(f"{where}: {error!r}") from error
            taken = time.monotonic() - start
            assert taken < SECONDS, (function.__name__, seed, taken)
    assert errors


def test_roll_writes_all_or_nothing(files, tmp_path):
    out = tmp_path / "rolled.tflite"
    outcomes = set()
    for seed in range(max(NUM_FILES // 40, 6)):
        try:
            roll(damaged(files, seed), out, timeout=20)
            outcomes.add(True)
            assert audit(out).operators is not None
            out.unlink()
        except (ValueError, RuntimeError):
            outcomes.add(False)
        assert list(tmp_path.iterdir()) == [], seed
    assert False in outcomes


def test_sources_that_are_no_files(tmp_path):
    loop, fifo, empty = (tmp_path / name for name in ("loop", "fifo", "empty"))
    loop.symlink_to(loop)
    os.mkfifo(fifo)
    empty.touch()
    for function in (audit, roll):
        for source in (loop, fifo, tmp_path):
            with pytest.raises(FileNotFoundError, match="existing file"):
                function(source)
        for source in (empty, b"", b"TFL3", b"\0" * 7, bytes(1000)):
            with pytest.raises(ValueError, match="identifier"):
                function(source)
