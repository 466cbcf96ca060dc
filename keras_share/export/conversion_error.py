"""What went wrong in TensorFlow's converter, in a sentence."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import keras

from keras_share.flat.first_sentence import first_sentence
from keras_share.layers.sublayers import sublayers
from keras_share.tflite.file import flatbuffer

_DIVERTED = Lock()


@contextmanager
def explained(model: keras.Model) -> Iterator[None]:
    """Around the conversion of a model: says of an error what it is about.

    Raises:
        ValueError: In place of what was raised inside, which follows it.
    """
    try:
        with _said_once():
            yield
    except Exception as error:  # TensorFlow raises of every kind
        raise ValueError(
            f"{_told(_cause(error, model), model)} What it says itself:\n{error}"
        ) from error


@contextmanager
def _said_once() -> Iterator[None]:
    """Keeps from stderr what is raised, too.

    MLIR prints an error before it is raised: a page of locations, even if another way
    works then. What else is printed meanwhile, by any thread, comes afterwards.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # a process without one
        yield
        return
    if not _DIVERTED.acquire(blocking=False):  # by another thread
        os.close(stderr)
        yield
        return
    raised = ""
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except Exception as error:
            raised = str(error)
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            _DIVERTED.release()
            printed.seek(0)
            with open(2, "wb", closefd=False) as shown:
                shown.writelines(x for x in printed if not _is_in(raised, x))


def _is_in(raised: str, line: bytes) -> bool:
    text = line.decode(errors="replace")
    return bool(raised) and (text.startswith("loc(") or text.strip() in raised)


def check_operators(file: flatbuffer.schema.ModelT, model: keras.Model) -> None:
    """Raises ValueError if TFLite doesn't know an operator of a file.

    With edges in a model the converter takes every operator for one of the user's own.
    """
    named = [
        (flatbuffer.operator_name(file, op), graph.tensors[op.outputs[0]].name)
        for graph in file.subgraphs
        for op in graph.operators
    ]
    unknown = [(kind[7:], name) for kind, name in named if kind.startswith("CUSTOM:")]
    if unknown:
        places = [flatbuffer.text(name).split("/") for _, name in unknown]
        raise ValueError(
            _told(_no_operator([k for k, _ in unknown], places, model), model)
        )


def _told(cause: str, model: keras.Model) -> str:
    return (
        f"TensorFlow's converter can't write the model '{model.name}': {cause} "
        f"{_advice(model)}"
    )


def _no_operator(kinds: list[str], places: list[list[str]], model: keras.Model) -> str:
    kinds = [kind.removeprefix("Flex") for kind in dict.fromkeys(kinds)]
    where = _place(places, model)
    return f"TFLite has no operator for {', '.join(kinds)} as it stands here{where}."


def _place(places: list[list[str]], model: keras.Model) -> str:
    layers = {x.name for x in model.layers}
    # In a graph a layer's name has one number more.
    parts = [re.sub(r"_\d+$", "", x) for path in places for x in path]
    named = [x for x in parts if x in layers]
    return f", in '{named[0]}'" if named else ""


def _cause(error: Exception, model: keras.Model) -> str:
    text = str(error)
    kinds = re.findall(r"'tf\.(\w+)' op is neither", text)
    places = [path.split("/") for path in re.findall(r':", "([^"@]+)@', text)]
    if kinds:
        return _no_operator(kinds, places, model)
    stopped = re.search(r"'(tfl?\.\w+)' op ([^\n]+)", text)
    if stopped:
        return f"it stops at {stopped[1]}{_place(places, model)}: {stopped[2]}."
    called = re.match(r"Exception encountered when calling (\w+)\.call", text)
    if called:
        names = [
            f"'{x.name}'" for x in sublayers(model) if type(x).__name__ == called[1]
        ]
        return f"{called[1]} ({' or '.join(names)}) fails: {first_sentence(error)}"
    return first_sentence(error)


def _advice(model: keras.Model) -> str:
    free = [x for x in model.inputs if None in x.shape[1:]]
    if free:
        fixed = tuple(size or 32 for size in free[0].shape[1:])
        return (
            f"The input '{free[0].name}' has sizes that are open, "
            f"{tuple(free[0].shape[1:])}, which many operators must know: build the "
            f"model for a fixed size, such as keras.Input({fixed})."
        )
    return (
        "Write this part with other operations, or leave it out of the exported model."
    )
