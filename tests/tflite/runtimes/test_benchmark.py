import copy
import math
import mmap
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from random_data import randomize, values

from keras_share import export_tflite
from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes import apart
from keras_share.tflite.runtimes import apart_process as process
from keras_share.tflite.runtimes.benchmark import benchmark as measure
from keras_share.tflite.runtimes.modes import MODES

COLUMNS = [
    *("file", "mode", "file_bytes", "load_ms", "first_ms", "median_ms", "p90_ms"),
    *("grown_mb", "peak_mb", "difference", "error"),
]
FIGURES = COLUMNS[3:9]

pytestmark = pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")


def benchmark(*sources, **options):
    """What is measured, as a DataFrame."""
    return measure(*sources, **options).to_dataframe()


TIMEOUT = apart.RunTimeoutError("it was ended after 5 seconds")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    dense, inputs = layers.Dense(32), keras.Input((32,))
    x = inputs
    for _ in range(3):
        x = layers.add([x, dense(x)])
    model = randomize(keras.Model(inputs, x))
    for scheme in ("float32", "dynamic", "int8"):
        path = folder / f"{scheme}.tflite"
        data = values(16, 32)
        export_tflite(model, path, quantization=scheme, representative_dataset=data)
    return folder


@pytest.fixture
def answers(monkeypatch):
    """Takes what each process answers, one after the other; gives the jobs."""

    def install(*results):
        jobs, results = [], iter(results)

        def do(job, timeout):
            jobs.append(job[1:])
            result = next(results)
            if isinstance(result, Exception):
                raise result
            return result

        process = nullcontext(SimpleNamespace(do=do))
        monkeypatch.setattr(apart, "_Process", lambda *environment: process)
        return jobs

    return install


def answer(number=1.0, output=1.0):
    """Of a process: the same number for each figure."""
    return dict.fromkeys(FIGURES, number), [{"y": np.array([output, 4.0])}]


def test_what_is_measured(folder):
    path, modes, steps = folder / "float32.tflite", list(MODES)[:4], []
    frame = benchmark(
        path, modes=modes, rounds=1, progress=lambda *step: steps.append(step)
    )
    assert [*frame.columns] == COLUMNS
    assert frame["file"].tolist() == [str(path)] * 4
    assert frame["mode"].tolist() == [*modes]
    assert frame["file_bytes"].tolist() == [path.stat().st_size] * 4
    assert frame["error"].tolist() == [""] * 4
    assert (frame[FIGURES] > 0).all(axis=None)
    assert (frame["p90_ms"] >= frame["median_ms"]).all()
    assert (frame["peak_mb"] >= frame["grown_mb"]).all()
    assert (frame["difference"] < 1e-5).all() and frame["difference"][1] == 0
    report = measure(path, runs=1, rounds=1)
    assert [*report.to_dict()["rows"][0]] == COLUMNS
    assert report.to_dict()["rows"][0]["file"] == report.rows[0].file == str(path)
    assert steps == [(i, 4, f"{path}, {mode}") for i, mode in enumerate(modes, 1)]


def test_memory_is_that_of_the_file(tmp_path):
    """A kernel of 8 MB stands in the file and once more as XNNPACK packs it."""
    small, large = (tmp_path / name for name in ("small.tflite", "large.tflite"))
    for path, width in ((small, 2), (large, 2048)):
        model = keras.Sequential([keras.Input((width,)), layers.Dense(1024)])
        export_tflite(model, path)
    frame = benchmark(small, large, rounds=1)
    [grown, peak] = frame[["grown_mb", "peak_mb"]].diff().iloc[1]
    assert 15.5 < grown < 17.5 and 15.5 < peak < 18.5


def test_micro(folder):
    pytest.importorskip("tflite_micro")
    frame = benchmark(
        {name: folder / f"{name}.tflite" for name in ("float32", "dynamic")},
        modes=["micro"],
        rounds=1,
    )
    ran, failed = frame.to_dict("records")
    assert ran["error"] == "" and ran["difference"] < 1e-5 and ran["median_ms"] > 0
    assert "FLOAT32 with filter type: INT8 not supported" in failed["error"]
    assert all(math.isnan(failed[name]) for name in (*FIGURES, "difference"))


def test_files_of_every_form(folder):
    source = (folder / "float32.tflite").read_bytes()
    bare, two, batches = (flatbuffer.read(source) for _ in range(3))
    bare.signatureDefs = None
    two.subgraphs.append(copy.copy(two.subgraphs[0]))
    two.signatureDefs.append(copy.copy(two.signatureDefs[0]))
    two.signatureDefs[1].signatureKey, two.signatureDefs[1].subgraphIndex = b"other", 1
    for tensor in batches.subgraphs[0].tensors:
        if len(tensor.shape) == 2 and not flatbuffer.buffer_bytes(
            batches, tensor.buffer
        ):
            tensor.shapeSignature = np.array([-1, tensor.shape[1]], np.int32)
    frame = benchmark(
        {"bare": flatbuffer.pack(bare), "two": flatbuffer.pack(two)},
        flatbuffer.pack(batches),
        modes=["interpreter", "compiled"],
        rounds=1,
    )
    assert frame["file"].tolist()[::2] == ["bare", "two", "bytes 2"]
    assert frame["error"].tolist() == [""] * 6
    assert (frame["difference"] < 1e-5).all()


def test_medians_over_rounds_of_the_same_inputs(folder, answers):
    a, b = folder / "float32.tflite", folder / "dynamic.tflite"
    jobs = answers(
        *(answer(2), answer(20), answer(3), answer(30, 1.04)),
        *(answer(1), answer(10), answer(9), answer(90, 1.02)),
        *(answer(4), answer(40), answer(3), answer(30, 1.0)),
    )
    modes = ["reference", "compiled"]
    frame = benchmark(a, b, modes=modes, num_threads=2, runs=7)
    assert frame["mode"].tolist() == modes * 2
    for name in FIGURES:
        assert frame[name].tolist() == [2, 3, 20, 30]
    assert frame["difference"].tolist() == pytest.approx([0, 0, 0, 0.01])
    taken = [(mode, path, *counts) for mode, path, _, *counts in jobs]
    turns = [(mode, str(path), 2, 7) for mode in modes for path in (a, b)]
    assert taken == turns * 3
    inputs = [next(iter(calls[0][1].values())).tolist() for _, _, calls, *_ in jobs]
    for i in range(0, 12, 4):
        assert inputs[i] == inputs[i + 2] and inputs[i + 1] == inputs[i + 3]
    assert inputs[0] != inputs[4] != inputs[8]


def test_one_failure_ends_a_mode_and_no_other(folder, answers):
    jobs = answers(
        answer(1),
        answer(2),
        *(answer(3), TIMEOUT),
        answer(5),
    )
    modes = ["interpreter", "compiled"]
    frame = benchmark(folder / "int8.tflite", modes=modes, timeout=5)
    assert len(jobs) == 5
    assert frame["error"].tolist() == ["", "it was ended after 5 seconds"]
    assert frame["median_ms"][0] == 3 and math.isnan(frame["median_ms"][1])
    assert frame["difference"][0] == 0 and math.isnan(frame["difference"][1])


def test_wrong_outputs_are_told(folder, answers):
    answers(answer(), answer(output=1.3))
    with pytest.warns(UserWarning, match=r"'compiled_cache' .* by 0\.075 of the larg"):
        frame = benchmark(
            folder / "int8.tflite", modes=["interpreter", "compiled_cache"], rounds=1
        )
    assert frame["difference"][1] == pytest.approx(0.075)
    answers(answer(), answer(output=float("nan")))
    with pytest.warns(UserWarning, match="by inf of the largest"):
        benchmark(folder / "int8.tflite", modes=["reference", "micro"], rounds=1)


def test_what_is_right(folder, answers):
    """The reference, before the interpreter, which runs unasked where neither is."""
    path = folder / "int8.tflite"
    answers(answer(output=1.1), answer(), answer(output=1.1))
    frame = benchmark(path, modes=["interpreter", "reference", "micro"], rounds=1)
    assert frame["difference"].tolist() == pytest.approx([0.025, 0, 0.025])
    jobs = answers(answer(), answer(output=1.1))
    frame = benchmark(path, modes=["micro"], rounds=1)
    assert [job[0] for job in jobs] == ["micro", "interpreter"]
    assert frame["mode"].tolist() == ["micro"]
    assert frame["difference"][0] == pytest.approx(0.1 / 4)
    answers(answer(), TIMEOUT)
    frame = benchmark(path, modes=["micro"], rounds=1)
    assert math.isnan(frame["difference"][0]) and frame["median_ms"][0] == 1


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["os.kill(os.getpid(), 11)"], "the process was ended by SIGSEGV"),
        (
            ["os.kill(os.getpid(), 9)"],
            "it ran out of memory, it seems: the process was ended by SIGKILL",
        ),
        (["raise MemoryError"], "it ran out of memory, it seems: MemoryError"),
        (["sys.exit(3)"], "the process ended with code 3"),
        (["time.sleep(60)"], "it was ended after 0.5 seconds"),
        (
            ["print('INFO: a\\nreason', file=sys.stderr)", "raise KeyError('b')"],
            "reason KeyError: 'b'",
        ),
    ],
)
def test_processes_that_fail(lines, error, folder, tmp_path, monkeypatch):
    script = tmp_path / "process.py"
    script.write_text("\n".join(["import os, sys, time", *lines]))
    monkeypatch.setattr(apart, "_PROCESS", script)
    frame = benchmark(folder / "int8.tflite", timeout=0.5)
    assert frame["error"].tolist() == [error]
    assert frame[[*FIGURES, "difference"]].isna().all(axis=None)


def test_runtimes_are_alone_in_their_process():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import apart_process;"
    code += "print({'keras', 'keras_share', 'tensorflow', 'pandas'} & {*sys.modules})"
    folder = Path(process.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, check=True
    )
    assert done.stdout.strip() == b"set()"


def test_outputs_are_those_of_the_first_run(monkeypatch):
    runs = iter(range(10_000_000))  # of a file that keeps a state
    monkeypatch.setitem(
        process.MODES, "counting", lambda: lambda *_: lambda: next(runs)
    )
    figures, outputs = process.measure("counting", "model.tflite", [], 1, 3)
    assert outputs == 0 and next(runs) > 3
    assert figures["median_ms"] >= 0


@pytest.mark.parametrize(
    ("seconds", "runs", "expected"),
    [(0.1, 2, 5), (0.1, 9, 9), (0.7, 2, 2), (3.0, 9, 4), (60.0, 9, 1)],
)
def test_runs_by_count_and_time(seconds, runs, expected, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def run():
        now[0] += seconds

    times = process.timed(run, runs, 0.45)
    assert [*times] == pytest.approx([seconds] * expected)


def test_memory_without_proc(monkeypatch):
    def missing(path, *args):
        raise FileNotFoundError(path)

    monkeypatch.setattr(process, "open", missing, raising=False)
    assert math.isnan(process.resident("VmRSS")) and not process.reset_peak()
    load = lambda *job: lambda: [{"y": np.ones(1)}]  # noqa: E731
    monkeypatch.setitem(process.MODES, "none", lambda: load)
    monkeypatch.setattr(process, "_WARM_UP", 0)
    monkeypatch.setattr(process, "_AT_LEAST", 0)
    figures, outputs = process.measure("none", "", [], 1, 3)
    unknown = [name for name, figure in figures.items() if math.isnan(figure)]
    assert unknown == ["grown_mb", "peak_mb"]
    assert outputs[0]["y"] == 1


def test_memory_of_this_process():
    before = process.resident("VmRSS")
    if math.isnan(before) or not process.reset_peak():
        pytest.skip("no /proc")
    with mmap.mmap(-1, 2**25) as block:
        for i in range(0, len(block), mmap.PAGESIZE):
            block[i] = 1
        assert 31 < process.resident("VmRSS") - before < 34
    assert abs(process.resident("VmRSS") - before) < 2
    assert 31 < process.resident("VmHWM") - before < 34


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": []}, r"`modes` must be a list with some of 'inter.*modes=\[\]"),
        ({"modes": "micro"}, "Received: modes='micro'"),
        ({"modes": ["gpu"]}, r"Received: modes=\['gpu'\]"),
        ({"rounds": 0}, "`rounds` must be a whole number of at least 1.* rounds=0"),
        ({"runs": 0}, "`runs` must be"),
        ({"num_threads": 1.5}, "`num_threads` must be .* num_threads=1.5"),
        ({"timeout": 0}, "`timeout` must be a number of seconds above 0.*timeout=0"),
        ({"timeout": math.inf}, "`timeout` must be a number.*timeout=inf"),
        ({"timeout": None}, "`timeout` must be a number.*timeout=None"),
    ],
)
def test_bad_options(options, message, folder):
    with pytest.raises(ValueError, match=message):
        benchmark(folder / "int8.tflite", **options)


def test_bad_sources(folder):
    path = folder / "int8.tflite"
    with pytest.raises(ValueError, match=r"at least one file.* Received: \[\]"):
        benchmark()
    with pytest.raises(ValueError, match=r"a name of its own.* Pass a mapping"):
        benchmark(path, {str(path): path})
    with pytest.raises(FileNotFoundError, match=r"missing\.tflite"):
        benchmark(path, folder / "missing.tflite")
    with pytest.raises(ValueError, match="identifier b'TFL3'"):
        benchmark({"x": b"no model at all"})
