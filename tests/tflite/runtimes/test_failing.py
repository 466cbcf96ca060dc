"""Jobs in a process that is used again, and at which operator a file ends it."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from stock import model_of, operator, tensor

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.file.flatbuffer import schema
from keras_share.tflite.inspect.audit import Audit
from keras_share.tflite.runtimes.agreement import random_inputs
from keras_share.tflite.runtimes.apart import RunError, RunTimeoutError, run_apart
from keras_share.tflite.runtimes.failing import failing_operator


def ends(scale):
    quantization = {"scale": np.float32([scale]), "zeroPoint": np.int64([-128])}
    return tensor([1, 8], "int8", **quantization)


def abort(scale=1e-9):
    """A file whose second operator ends the process, unless the scale is larger."""
    tensors = [ends(0.1), ends(scale), ends(1 / 256)]
    tensors[2].name = b"model/scores"
    steps = [
        operator("QUANTIZE", [0], [1]),
        operator("SOFTMAX", [1], [2], SoftmaxOptions={"beta": 1.0}),
    ]
    model = model_of((tensors, steps), signatures=[0])
    [signature] = model.signatureDefs
    signature.signatureKey = b"serving_default"
    signature.inputs, signature.outputs = [end("x", 0)], [end("y", 2)]
    return flatbuffer.pack(model)


def end(name, index):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), index
    return made


def job(data, path):
    path.write_bytes(data)
    [(_, inputs, _)] = random_inputs(flatbuffer.read(data))
    return "run_rows", "reference", str(path), [inputs]


def test_a_process_that_ends_is_replaced(tmp_path):
    right, wrong = (job(abort(s), tmp_path / f"{s}.tflite") for s in (0.1, 1e-9))
    for _ in range(2):
        assert len(run_apart(*right, timeout=60, fresh=False)) == 1
        with pytest.raises(RunError, match="SIGABRT"):
            run_apart(*wrong, timeout=60, fresh=False)
        with pytest.raises(RunError, match=r"ValueError: .*nowhere\.tflite"):
            run_apart(*right[:2], "nowhere.tflite", [], timeout=60, fresh=False)
    with pytest.raises(RunTimeoutError, match=r"after 0\.01 seconds"):
        run_apart(*right, timeout=0.01, fresh=True)


class JustTooLate(threading.Timer):
    """Fires as it is canceled."""

    def cancel(self):
        self.function()
        super().cancel()


def test_a_process_that_ends_with_its_result_is_replaced(tmp_path, monkeypatch):
    right = job(abort(0.1), tmp_path / "file.tflite")
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Timer", JustTooLate)
        assert len(run_apart(*right, timeout=60, fresh=False)) == 1
    assert len(run_apart(*right, timeout=60, fresh=False)) == 1


def test_a_kept_process_ends_with_its_program(tmp_path):
    source = """
from pathlib import Path
from keras_share.tflite.runtimes import apart

try:
    apart.run_apart("run_rows", "reference", "no.tflite", [], timeout=60, fresh=False)
except apart.RunError:
    print("refused")
    with apart._KEPT.process() as process:
        print(process._process.pid)
"""
    found = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", source],
        capture_output=True,
        text=True,
        check=True,
    )
    refused, pid = found.stdout.split()
    assert refused == "refused" and not found.stderr
    assert not Path("/proc", pid).exists()


def test_the_operator_is_named(tmp_path):
    data = abort()
    [(_, inputs, _)] = random_inputs(flatbuffer.read(data))
    found = failing_operator(data, "reference", inputs)
    assert found == " (at operator 1, SOFTMAX, of 'model/scores')"
    assert failing_operator(abort(0.1), "reference", inputs) == ""


def answer(value):
    """What a process answers that copies a value."""
    return run_apart("call", "copy", "copy", sys.path, [value], timeout=60, fresh=False)


@pytest.mark.parametrize(
    "value",
    [Path("x"), run_apart, np.save, {"x": [sys.exit]}, np.array([print, 1])],
    ids=["class", "ours", "numpy", "inside", "array"],
)
def test_an_answer_that_names_code_is_refused(value):
    with pytest.raises(RunError, match=r"answered with [\w.]+, which is not taken"):
        answer(value)


def test_arrays_and_dataclasses_are_answers():
    rows = np.arange(6.0).reshape(2, 3)
    for array in (rows, rows.T, rows[:, ::2], np.float32(1), np.array(["a"])):
        np.testing.assert_array_equal(answer(array), array)
    facts = Audit(None, 1, (), (), 0)
    assert answer(facts) == facts
