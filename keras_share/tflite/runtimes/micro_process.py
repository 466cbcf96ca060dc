"""The process in which `run_micro` runs a file: TensorFlow Lite Micro and no Keras.

What goes wrong in TensorFlow Lite Micro is printed by C code, and some of it ends the
process. So it gets one of its own, which is run by the path of this file.
"""

import os
import pickle
import resource
import sys

import numpy as np

# No controller has as much; memory that is not touched costs the host nothing.
_LARGEST_ARENA = 2**26
_ALIGNMENT = 16

Rows = list[list[np.ndarray]]


def main() -> None:
    """Reads a model and its samples from stdin, writes outputs and arena to stdout."""
    sys.path.pop(0)  # the folder of this file, whose modules would hide others
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes leave no file
    model, rows, num_outputs = pickle.load(sys.stdin.buffer)
    result = run(model, rows, num_outputs), smallest_arena(model)
    pickle.dump(result, sys.stdout.buffer)


def run(model: bytes, rows: Rows, num_outputs: int) -> Rows:
    """The outputs for each sample, as lists of arrays with a batch axis of 1."""
    interpreter = load(model, _LARGEST_ARENA)
    outputs = []
    for row in rows:
        for i, array in enumerate(row):
            interpreter.set_input(array, i)
        interpreter.invoke()
        outputs.append([interpreter.get_output(i) for i in range(num_outputs)])
    return outputs


def smallest_arena(model: bytes) -> int:
    """The bytes of the smallest arena in which the model can be set up.

    More than is in use afterwards, which is all that the interpreter tells: planning
    where the tensors go takes some memory itself.
    """
    low, high = 0, _LARGEST_ARENA // _ALIGNMENT
    while high - low > 1:
        middle = (low + high) // 2
        if fits(model, middle * _ALIGNMENT):
            high = middle
        else:
            low = middle
    return high * _ALIGNMENT


def fits(model: bytes, arena_bytes: int) -> bool:
    """Whether a model can be set up in an arena.

    Tried in a process of its own, as too small an arena is an error at most sizes and
    a crash at some.
    """
    attempt = os.fork()
    if not attempt:
        try:
            load(model, arena_bytes)
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(attempt, 0)[1] == 0


def load(model: bytes, arena_bytes: int):
    """Sets a model up in an arena; RuntimeError if that fails."""
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)


if __name__ == "__main__":
    main()
