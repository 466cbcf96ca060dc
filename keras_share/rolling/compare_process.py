"""Runs two files and tells whether their outputs differ; started by `compare`."""

import pickle
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SEED = 0
# Integers are looked up in tables: 0 and 1 are in most of them, 0 is in all.
LARGEST = (2, 1)
ROLLED = "Now the rolled file."  # on stderr, in case it ends the process


def main() -> None:
    """Answers what `difference` says."""
    files = pickle.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(pickle.dumps(difference(*files)))


def difference(data: bytes, other: bytes) -> tuple[str, str]:
    """Which file is at fault, `"given"` or `"rolled"`, and how; empty if neither is."""
    for largest in LARGEST:
        try:
            expected = _run(data, largest)
            break
        except (RuntimeError, ValueError) as error:
            complaint = str(error)
    else:
        return "given", complaint
    print(ROLLED, file=sys.stderr, flush=True)
    try:
        actual = _run(other, largest)
    except (RuntimeError, ValueError) as error:
        return "rolled", str(error)
    differing = [
        name
        for name, output in expected.items()
        if not np.array_equal(output, actual[name], equal_nan=output.dtype.kind == "f")
    ]
    if differing:
        return "rolled", f"other values of {', '.join(differing)}"
    return "", ""


def _run(data: bytes, largest: int) -> dict[str, np.ndarray]:
    """All outputs of all signatures, by their names."""
    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    outputs = {}
    for key in list(interpreter.get_signature_list()) or [None]:
        # The generator starts anew for each: the runs of two files are compared.
        rng = np.random.default_rng(SEED)
        if key is None:
            for name, output in _run_plain(interpreter, rng, largest).items():
                outputs[f"output {name}"] = output
            continue
        runner = interpreter.get_signature_runner(key)
        details = runner.get_input_details()
        inputs = {
            name: _values(details[name], rng, largest) for name in sorted(details)
        }
        for name, output in runner(**inputs).items():
            outputs[f"'{name}' of signature '{key}'"] = np.copy(output)
    return outputs


def _run_plain(
    interpreter: Interpreter, rng: np.random.Generator, largest: int
) -> dict[int, np.ndarray]:
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], _values(details, rng, largest))
    interpreter.invoke()
    return {
        number: interpreter.get_tensor(details["index"])
        for number, details in enumerate(interpreter.get_output_details())
    }


def _values(details: dict, rng: np.random.Generator, largest: int) -> np.ndarray:
    dtype, shape = np.dtype(details["dtype"]), details["shape"]
    if dtype.kind in "fc":
        return rng.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind not in "iu":
        raise ValueError(f"input '{details['name']}' is of type {dtype}")
    if details["quantization"][0]:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.integers(0, largest, shape).astype(dtype)


if __name__ == "__main__":
    main()
