"""Names that are the same in every process."""

import re

import keras


def stable_name(op: keras.Operation) -> str:
    """The name of a layer, or of an operation without its number.

    Keras numbers operations through the process: the same model would have other names
    each time.
    """
    return op.name if isinstance(op, keras.Layer) else re.sub(r"_\d+$", "", op.name)


def scope_name(name: str) -> str:
    """A name that TensorFlow takes for a layer, made of one for an input or output."""
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)


def output_names(model: keras.Model) -> list[str]:
    """What losses and metrics call the outputs of a built model, one name for each."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]  # it has no `output_names`
    numbered = {op.name: stable_name(op) for op in model.operations}
    return [numbered.get(name, name) for name in model.output_names]


def input_names(model: keras.Model) -> list[str]:
    """Names for the inputs of a model's file.

    Those of `keras.Input`, and numbers for inputs without: the names that Keras gives
    them count what else was made in the same process.
    """
    single = len(model.inputs) == 1
    names = [
        ("input" if single else f"input_{i}")
        if re.fullmatch(r"keras_tensor(_\d+)?", x.name)
        else x.name
        for i, x in enumerate(model.inputs)
    ]
    if len(set(names)) < len(names):
        names = [f"input_{i}" for i in range(len(names))]
    return names
