"""Random files, which no converter would write, rolled.

`RANDOM_GRAPHS=2000 pytest tests/tflite/repeats/test_random_graphs.py` tries more.
"""

import os
from collections import Counter

import pytest
from random_files import File

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.repeats.line import Line
from keras_share.tflite.repeats.roll import roll_data
from keras_share.tflite.runtimes.agreement import difference, random_inputs
from keras_share.tflite.runtimes.apart_process import MODES

NUM_GRAPHS = int(os.environ.get("RANDOM_GRAPHS", "200"))
BATCHES = 8  # of graphs: a test for each


def outputs_of(data, folder):
    path = folder / "model.tflite"
    path.write_bytes(data)
    calls = random_inputs(flatbuffer.read(data))
    return MODES["reference"]()(str(path), calls, 1)()


def uses(data):
    """How often each kernel is read by operators that are alike."""
    model = flatbuffer.read(data)
    counts = Counter()
    for step in Line.of(model).operations:
        if step is not None and step.kernel is not None:
            counts[step.kernel, step.key] += 1
    return counts


def check(data, folder):
    report = roll_data(data)
    assert report.data == roll_data(data).data
    again = roll_data(report.data)
    assert again.bodies == () and again.data is report.data
    assert not report.bodies or max(uses(report.data).values()) == 1
    if report.bodies:
        assert (
            difference(outputs_of(data, folder), outputs_of(report.data, folder)) == 0
        )
    return report


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_files(batch, tmp_path):
    rolled = 0
    for seed in range(batch, NUM_GRAPHS, BATCHES):
        try:
            rolled += bool(check(File(seed).bytes(), tmp_path).bodies)
        except Exception as error:
            raise AssertionError(f"File({seed}): {error}") from error
    assert rolled > NUM_GRAPHS / BATCHES / 3
