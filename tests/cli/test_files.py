"""`audit`, `roll`, `dedupe` and `benchmark`: what works on any file."""

import inspect
import json
import os
import sys
from dataclasses import replace

import pytest

import keras_share
from keras_share.cli.main import program
from keras_share.cli.options import FORMATS
from keras_share.tflite.runtimes.benchmark import (
    BenchmarkReport,
    Measurement,
    benchmark,
)
from keras_share.tflite.runtimes.plot_benchmark import plot_benchmark

KERNEL = 4 * 16 * 16


def test_audit(cli, here):
    text = cli("audit model.tflite").stdout
    assert text == f"{keras_share.audit('model.tflite')}\n"
    assert "duplicates: 0 bytes" in text


def test_audit_json(cli_json):
    facts = cli_json("audit model.tflite")
    assert facts == json.loads(json.dumps(keras_share.audit("model.tflite").to_dict()))
    assert [b["uses"] for b in facts["buffers"]] == [2, 2]


def test_audit_with_the_model(cli_json, cli):
    facts = cli_json("audit model.tflite --model model.keras --strict")
    names = {buffer["variable"] for buffer in facts["buffers"]}
    assert len(names) == 2 and all(name.endswith("/kernel") for name in names)
    facts = cli_json("audit copied.tflite --model model.keras --strict", 3)
    assert [kernel["state"] for kernel in facts["kernels"]] == ["copied"] * 2
    assert (
        "2 kernels of the model"
        in cli("audit copied.tflite --model model.keras --strict", 3).stderr
    )


def test_audit_names_what_is_stored_twice(cli):
    done = cli("audit copied.tflite")
    assert keras_share.audit("copied.tflite").complaint() in done.stdout
    assert done.stderr == ""
    done = cli("audit copied.tflite --strict", 3)
    assert f"{2 * KERNEL:,} bytes of duplicates" in done.stderr


def test_roll(cli, cli_json, here):
    done = cli("roll model.tflite -o rolled.tflite")
    report = keras_share.roll("model.tflite")
    assert done.stdout == f"{report}\n" and done.stderr == ""
    assert (here / "rolled.tflite").read_bytes() == report.data
    facts = cli_json("roll model.tflite --output model.tflite --strict")
    assert facts == json.loads(json.dumps(report.to_dict()))
    assert (here / "model.tflite").read_bytes() == report.data


def test_roll_strict(cli, here):
    done = cli("roll model.tflite -o r.tflite --min-bytes 999999 --strict", 3)
    assert "fewer bytes than --min-bytes (999999)" in done.stdout
    assert "2 kernels are still packed several times" in done.stderr
    assert (here / "r.tflite").read_bytes() == (here / "model.tflite").read_bytes()
    cli("roll model.tflite -o r.tflite --min-bytes 999999")


def test_dedupe(cli, cli_json, here):
    before, after = (here / "copied.tflite").stat().st_size, None
    done = cli("dedupe copied.tflite -o once.tflite")
    after = (here / "once.tflite").stat().st_size
    assert after < before - 2 * KERNEL
    assert done.stdout == f"bytes {before:,} -> {after:,}\n"
    assert keras_share.audit("once.tflite").duplicate_bytes == 0
    assert cli_json("dedupe copied.tflite -o copied.tflite") == {
        "bytes": [before, after]
    }
    assert (here / "copied.tflite").stat().st_size == after
    assert "nothing is stored twice" in cli("dedupe once.tflite -o b.tflite").stdout
    assert (here / "b.tflite").read_bytes() == (here / "once.tflite").read_bytes()


def test_benchmark(cli, here):
    done = cli("benchmark model.tflite copied.tflite --rounds 1 --runs 1 --plot b.png")
    head, line, *rows = done.stdout.splitlines()
    assert head.split()[:4] == ["file", "mode", "file_bytes", "load_ms"]
    assert set(line) == {"─"}
    assert [row.split()[:2] for row in rows] == [
        ["model.tflite", "interpreter"],
        ["copied.tflite", "interpreter"],
    ]
    assert (here / "b.png").read_bytes().startswith(b"\x89PNG")
    assert done.stderr == ""


def test_benchmark_json(cli_json):
    (row,) = cli_json(
        "benchmark model.tflite --mode reference --rounds 1 --runs 1 --threads 2"
    )
    assert row["mode"] == "reference" and row["median_ms"] > 0 and row["error"] == ""


def test_benchmark_tells_what_does_not_run(cli, monkeypatch):
    ran = Measurement("model.tflite", "interpreter", 9, median_ms=1.5)
    failed = Measurement("model.tflite", "micro", 9, error="no such operator")
    report = BenchmarkReport((ran, failed))
    module = sys.modules[benchmark.__module__]
    monkeypatch.setattr(module, "benchmark", lambda *args, **kwargs: report)
    text = cli("benchmark model.tflite").stdout
    assert text.splitlines()[-2:] == [
        "model.tflite   micro                  9           -",
        "model.tflite, micro: no such operator",
    ]
    report = BenchmarkReport((replace(ran, error="out of memory"), failed))
    done = cli("benchmark model.tflite", 1)
    assert "interpreter: out of memory\nmodel.tflite, micro: no such" in done.stderr


def test_other_endings_of_a_picture_are_told_before_the_work(cli, here):
    for path in ("b.jpg", "b"):
        assert ".png, .svg, .pdf" in cli(f"benchmark x --plot {path}", 2).stderr
        assert ".png, .svg, .pdf" in cli(f"report x --plot {path}", 2).stderr


@pytest.mark.parametrize(
    "function", [keras_share.roll, benchmark, keras_share.export_tflite]
)
def test_defaults_are_those_of_python(function):
    name = function.__name__.removesuffix("_tflite")
    output = [] if name == "benchmark" else ["-o", "out"]
    shell = program.commands[name].make_context(name, ["file", *output]).params
    python = inspect.signature(function).parameters
    common = (
        {n for n in shell if n in python}
        - {"sources", "source", "model"}
        - {"output", "path"}
    )
    assert len(common) > 1
    for n in common:
        assert shell[n] == python[n].default, n


def test_pictures_that_are_let_through_can_be_drawn(here):
    frame = benchmark("model.tflite", rounds=1, runs=1).to_dataframe()
    for ending in FORMATS:
        plot_benchmark(frame, f"picture{ending}")
        assert (here / f"picture{ending}").stat().st_size


@pytest.mark.parametrize("name", ["audit", "roll", "dedupe", "benchmark"])
@pytest.mark.parametrize("file", ["broken", "text", "gone", "folder"])
def test_a_file_at_fault(name, file, cli, here):
    (here / "folder.tflite").mkdir()
    before = sorted(os.listdir(here))
    out = " -o out.tflite" if name in ("roll", "dedupe") else ""
    done = cli(f"{name} {file}.tflite{out}", 1)
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert sorted(os.listdir(here)) == before


@pytest.mark.parametrize("name", ["roll", "dedupe"])
def test_where_no_file_can_be_written(name, cli, here):
    (here / "out").mkdir()
    done = cli(f"{name} model.tflite -o out", 1)
    assert "regular file can be replaced. Received: '" in done.stderr
    done = cli(f"{name} model.tflite -o gone/out.tflite", 1)
    assert "existing folder" in done.stderr
    assert "Missing option '-o'" in cli(f"{name} model.tflite", 2).stderr
    assert os.listdir("out") == []
