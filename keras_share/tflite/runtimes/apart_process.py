"""The process in which `run_apart` runs a file: one runtime, and nothing of ours.

Memory that an earlier file left behind would hide what this file takes, and what a
runtime can't run may end the process. So it gets one of its own, which is run by the
path of this file.
"""

import bisect
import contextlib
import importlib
import os
import pickle
import sys
import time
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

# In seconds: caches and clocks settle, the median of a small model is that of many
# runs, and a large one comes to an end.
_WARM_UP, _AT_LEAST, _AT_MOST = 0.1, 0.5, 10.0
_MICRO_ARENA = 2**28  # as much as any file wants; what is not touched isn't resident
_ALIGNMENT = 16  # of an arena

Calls = list[tuple[str | None, dict[str, np.ndarray], dict[str, int]]]
Outputs = list[dict[str, np.ndarray]]
Run = Callable[[], Outputs]
Load = Callable[[str, Calls, int], Run]


def main() -> None:
    """Reads jobs from stdin and writes what each returns to stdout."""
    sys.path.pop(0)  # the folder of this file, whose modules would hide others
    with contextlib.suppress(ImportError):  # where crashes leave files at all
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # runtimes print
    while True:
        try:
            job, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        result.write(pickle.dumps(JOBS[job](*arguments)))
        result.flush()


def call(module: str, name: str, path: list[str], arguments: list) -> Any:
    """What a function of a module returns, which is imported from `path`."""
    sys.path[:] = path
    return getattr(importlib.import_module(module), name)(*arguments)


def run_rows(mode: str, path: str, rows: list[dict[str, np.ndarray]]) -> Outputs:
    """The outputs of calls of a file's signature."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType[KERNELS[mode]]
    run = Interpreter(
        path, experimental_op_resolver_type=kernels
    ).get_signature_runner()
    return [run(**row) for row in rows]


def run_steps(path: str, rows: list[dict[str, np.ndarray]]) -> Outputs:
    """The outputs of a file of one step, from which what it also takes goes in again.

    What the rows lack is given as zeros at first.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType[KERNELS["reference"]]
    run = Interpreter(
        path, experimental_op_resolver_type=kernels
    ).get_signature_runner()
    details = run.get_input_details()
    state = {
        name: np.full(x["shape"], x["quantization"][1], x["dtype"])
        for name, x in details.items()
        if name not in rows[0]
    }
    outputs = []
    for row in rows:
        given = {name: _rounded(x, details[name]) for name, x in row.items()}
        outputs.append(run(**given, **state))
        state = {name: outputs[-1][name] for name in state}
    return outputs


def _rounded(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Reals as the integers of a tensor, if it holds such."""
    scale, zero = details["quantization"]
    if not scale or x.dtype == details["dtype"]:
        return x.astype(details["dtype"])
    ends = np.iinfo(details["dtype"])
    return np.clip(np.round(x / scale) + zero, ends.min, ends.max).astype(ends.dtype)


def run_once(mode: str, path: str, calls: Calls) -> Outputs:
    """The outputs of one file in one runtime."""
    return MODES[mode]()(path, calls, 1)()


def measure(
    mode: str, path: str, calls: Calls, num_threads: int, runs: int
) -> tuple[dict[str, float], Outputs]:
    """The figures of one file in one runtime, and the outputs of its first run."""
    # What a process takes for a runtime, whatever the file, is taken before.
    load = MODES[mode]()
    has_peak = reset_peak()
    before, start = resident("VmRSS"), time.perf_counter()
    run = load(path, calls, num_threads)
    loaded = time.perf_counter()
    outputs = run()  # later ones are others, if the file has a state
    first = time.perf_counter()
    timed(run, 1, _WARM_UP)
    # Before the times of many thousand runs take memory, too.
    grown = resident("VmRSS") - before
    peak = resident("VmHWM") - before if has_peak else float("nan")
    times = timed(run, runs, _AT_LEAST)
    figures = {
        "load_ms": (loaded - start) * 1e3,
        "first_ms": (first - loaded) * 1e3,
        "median_ms": float(np.median(times)) * 1e3,
        "p90_ms": float(np.percentile(times, 90)) * 1e3,
        "grown_mb": grown,
        "peak_mb": peak,
    }
    return figures, outputs


def timed(run: Run, runs: int, seconds: float) -> array:
    """The seconds of each of at least so many runs that last so long together."""
    times, start = array("d"), time.perf_counter()
    end = last = start
    while end - start < _AT_MOST and (len(times) < runs or end - start < seconds):
        run()
        last, end = end, time.perf_counter()
        times.append(end - last)
    return times


def resident(figure: str) -> float:
    """Memory of this process in MB as Linux tells it, NaN elsewhere."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith(f"{figure}:"):
                return int(line.split()[1]) / 1024
    return float("nan")


def reset_peak() -> bool:
    """Lets the peak of the resident memory begin anew, if the system can."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
        return True
    return False


def interpreter(kernels: str) -> Load:
    """LiteRT's `Interpreter`, with the kernels of one of its `OpResolverType`."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def load(path: str, calls: Calls, num_threads: int) -> Run:
        interpreter = Interpreter(
            path,
            num_threads=num_threads,
            experimental_op_resolver_type=OpResolverType[kernels],
        )
        interpreter.allocate_tensors()
        if calls[0][0] is None:
            return lambda: [run_without_signature(interpreter, calls[0][1])]
        runners = [(interpreter.get_signature_runner(s), x) for s, x, _ in calls]
        return lambda: [runner(**inputs) for runner, inputs in runners]

    return load


def run_without_signature(interpreter, inputs: dict[str, np.ndarray]) -> dict:
    """The outputs by the names of the tensors."""
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], inputs[details["name"]])
    interpreter.invoke()
    return {
        details["name"]: interpreter.get_tensor(details["index"])
        for details in interpreter.get_output_details()
    }


def compiled(weight_cache: str) -> Load:
    """LiteRT's `CompiledModel` on the CPU."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.environment import Environment
    from ai_edge_litert.options import CpuOptions, Options

    environment = Environment.create()

    def load(path: str, calls: Calls, num_threads: int) -> Run:
        options = CpuOptions(
            num_threads=num_threads, xnnpack_weight_cache_path=weight_cache
        )
        model = CompiledModel.from_file(
            path, environment=environment, options=Options(cpu_options=options)
        )
        [first, *_] = model.get_signature_list()  # made up where the file has none
        runs = [_prepare(model, key or first, inputs) for key, inputs, _ in calls]
        return lambda: [run() for run in runs]

    return load


def _prepare(model, key: str, inputs: dict[str, np.ndarray]) -> Callable[[], dict]:
    """A run of one signature of a `CompiledModel`."""
    for name, details in model.get_input_tensor_details(key).items():
        if tuple(details["shape"]) != inputs[name].shape:
            model.resize_input_tensor_by_name(key, name, inputs[name].shape)
    takes = {name: model.create_input_buffer_by_name(key, name) for name in inputs}
    gives = model.get_output_tensor_details(key)
    buffers = {name: model.create_output_buffer_by_name(key, name) for name in gives}

    def run() -> dict[str, np.ndarray]:
        for name, buffer in takes.items():
            buffer.write(inputs[name])
        model.run_by_name(key, takes, buffers)
        outputs = {}
        for name, details in gives.items():
            shape = details["shape"]
            array = buffers[name].read(int(np.prod(shape)), np.dtype(details["dtype"]))
            outputs[name] = array.reshape(shape)
        return outputs

    return run


def micro() -> Load:
    """TensorFlow Lite Micro in its Python build."""
    from tflite_micro import runtime

    def load(path: str, calls: Calls, num_threads: int) -> Run:
        if len(calls) > 1:
            raise ValueError("TensorFlow Lite Micro runs files of one signature")
        interpreter = runtime.Interpreter.from_file(path, arena_size=_MICRO_ARENA)
        [(_, inputs, outputs)] = calls

        def run() -> Outputs:
            for i, values in enumerate(inputs.values()):
                interpreter.set_input(values, i)
            interpreter.invoke()
            return [{name: interpreter.get_output(i) for name, i in outputs.items()}]

        return run

    return load


def run_in_micro(
    data: bytes, batches: list[list[np.ndarray]], num_outputs: int
) -> tuple[list[list[np.ndarray]], int]:
    """The outputs of one sample after the other, and the smallest arena."""
    interpreter = micro_interpreter(data, _MICRO_ARENA)
    outputs = []
    for batch in batches:
        for row in zip(*batch, strict=True):
            for i, values in enumerate(row):
                interpreter.set_input(values[None], i)
            interpreter.invoke()
            outputs.append([interpreter.get_output(i) for i in range(num_outputs)])
    return outputs, smallest_arena(data)


def smallest_arena(data: bytes) -> int:
    """The bytes of the smallest arena in which a file can be set up.

    More than is in use afterwards, which is all that the interpreter tells: planning
    where the tensors go takes some memory itself.
    """
    sizes = range(0, _MICRO_ARENA + 1, _ALIGNMENT)
    return sizes[bisect.bisect_left(sizes, True, key=lambda size: fits(data, size))]


def fits(data: bytes, arena_bytes: int) -> bool:
    """Whether a file can be set up in an arena.

    Tried in a process of its own, as too small an arena is an error at most sizes and
    a crash at some.
    """
    attempt = os.fork()
    if not attempt:
        try:
            micro_interpreter(data, arena_bytes)
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(attempt, 0)[1] == 0


def micro_interpreter(data: bytes, arena_bytes: int):
    """Sets a file up in an arena of TensorFlow Lite Micro."""
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)


# Of LiteRT's `Interpreter`, by the names of its `OpResolverType`.
KERNELS = {
    "interpreter": "AUTO",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
MODES: dict[str, Callable[[], Load]] = {
    **{mode: partial(interpreter, kernels) for mode, kernels in KERNELS.items()},
    "compiled": lambda: compiled(""),
    "compiled_cache": lambda: compiled(":memory"),
    "micro": micro,
}

JOBS: dict[str, Callable[..., Any]] = {
    "call": call,
    "measure": measure,
    "run_once": run_once,
    "run_rows": run_rows,
    "run_steps": run_steps,
    "run_in_micro": run_in_micro,
}

if __name__ == "__main__":
    main()
