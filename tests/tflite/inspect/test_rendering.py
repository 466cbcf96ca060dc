"""An audit in words."""

import pytest

from keras_share.tflite.inspect.audit import Audit, BufferFacts, OperatorFacts, audit
from keras_share.tflite.inspect.kernel_facts import KernelFacts

UNITS = 32

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def test_str(tied, duplicated, int8, tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied)
    lines = str(audit(path)).splitlines()
    assert lines[0] == f"{path}: {len(tied):,} bytes, 1 subgraph"
    assert lines[1].startswith("weights: 4,096 bytes in 1 buffer (")
    assert lines[1].endswith("% of the file), duplicates: 0 bytes")
    assert lines[3].split() == ["bytes", "uses", "dtype", "shape", "weight"]
    assert lines[4].split()[:4] == ["4,096", "3", "float32", "32x32"]
    assert lines[-1] == "float operators: FULLY_CONNECTED x 3"
    text = str(audit(duplicated))
    assert text.startswith("model: ")
    assert "duplicates: 8,192 bytes" in text
    assert text.count("(duplicate)") == 2
    assert str(audit(int8)).endswith("float operators: none")


def test_str_of_many_weights_is_cut():
    buffers = tuple(
        BufferFacts(i, f"{'long/' * 20}kernel{i}", (i,), "int8", i, 1, 1, None)
        for i in range(1, 101)
    )
    text = str(Audit(None, 10_000, buffers, (), 1))
    assert "... and 80 more of 3,240 bytes in all" in text
    assert "kernel100" in text and "kernel81" in text and "kernel80" not in text
    assert max(map(len, text.splitlines())) <= 88
    columns = [line.index("int8") for line in text.splitlines() if "int8" in line]
    assert len(columns) == 20 and len(set(columns)) == 1


def test_str_of_variables_and_kernels():
    paths = [f"stack/{'block/' * 10}part_{letter}/kernel" for letter in "AB"]
    buffers = tuple(
        BufferFacts(i, "name", (8, 8), "int8", 64, 1, 1, None, 1, None, paths[i - 1])
        for i in (1, 2)
    )
    facts = [(paths[0], (8, 8), 1, (1,), 64, 64, "once")]
    facts += [(paths[1], (8, 8), 2, (2, 3), 64, 128, "folded")] * 25
    kernels = tuple(KernelFacts(*fact) for fact in facts)
    text = str(Audit(None, 1000, buffers, (), 1, kernels=kernels))
    lines = text.splitlines()
    assert sum(line.endswith("part_A/kernel") for line in lines) == 1
    assert sum(line.endswith("part_B/kernel") for line in lines) == 1 + 20
    assert "kernels: 1 once, 25 folded; expected 1,664 bytes, stored 3,264" in lines
    assert "... and 5 more" in lines
    assert max(map(len, lines)) <= 88


def test_str_without_weights_and_operators():
    text = str(Audit(None, 100, (), (), 0))
    assert "weights: 0 bytes in 0 buffers (0% of the file)" in text
    assert text.endswith("float operators: none")


@pytest.mark.parametrize("name", ["WHILE", "ADD"])
def test_str_says_that_loops_count_once(name):
    text = str(Audit(None, 100, (), (OperatorFacts(name, "int32", 1),), 0))
    assert ("a loop as if it ran once" in text) == (name == "WHILE")


def test_str_fits_a_terminal(int8):
    report = audit(int8)
    text = str(report)
    assert max(map(len, text.splitlines())) <= 88
    lines = text.splitlines()
    macs = next(line for line in lines if line.endswith("FULLY_CONNECTED")).split()
    assert macs[1] == f"{3 * UNITS**2:,}"
    total = next(line for line in lines if line.endswith("in all")).split()
    assert total[:2] == ["8", f"{report.macs:,}"]
    assert sum("an estimate" in line for line in lines) == 1


# Errors and dependencies.
