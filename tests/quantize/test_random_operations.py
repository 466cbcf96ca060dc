"""Random little graphs of mixed operations: a file is what its model simulates.

`RANDOM_OPERATIONS=20 pytest tests/quantize/test_random_operations.py` tries more.
"""

import os
import warnings

import pytest
from file_against_model import check_steps, compare
from operation_graphs import OperationGraphs

from keras_share import export_tflite, quantize_model
from keras_share.quantize import quantization_report

SEEDS = int(os.environ.get("RANDOM_OPERATIONS", "1"))
AT_ONCE = 15  # graphs of one model: most of the time goes by per file


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_operations(seed, tmp_path):
    drawn = OperationGraphs(seed, range(AT_ONCE))
    with warnings.catch_warnings():
        # Of what stays in floating point: that is the point of many of these graphs.
        warnings.simplefilter("ignore", UserWarning)
        quantized = quantize_model(drawn.model, drawn.x, skip=drawn.skip)
    path = tmp_path / "model.tflite"
    x = [part[:16] for part in drawn.x]
    # Which checks that the file computes in integers what the report says, and no more.
    report = export_tflite(quantized, path, representative_dataset=x)
    rows = quantization_report(drawn.model, skip=drawn.skip).float_layers
    assert bool(report.float_operators) == bool(rows)
    check_steps(compare(quantized, path.read_bytes(), x))
