"""`keras-share export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_share.cli import options
from keras_share.cli.command import Command, Outcome
from keras_share.cli.progress import progress

if TYPE_CHECKING:
    import numpy as np

TARGETS = ("auto", "cpu", "micro", "accelerator")
QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")
TYPES = ("float32", "int8", "uint8", "int16")


@click.command(
    cls=Command,
    epilog="""\b
      keras-share export model.keras -o model.tflite --target cpu
      keras-share export model.keras -o model.tflite --target micro \\
          --representative samples.npy --input-type int8 --output-type int8
    """,
)
@click.argument("model", metavar="MODEL.keras", type=click.Path())
@options.output
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="auto",
    show_default=True,
    help="What the file is for: phones, microcontrollers, GPUs and NPUs, or any.",
)
@click.option(
    "--quantization",
    type=click.Choice(QUANTIZATIONS),
    help="Of a model that was not quantized in training. By default what suits the "
    "target: dynamic for cpu, int8 for micro, float32 otherwise.",
)
@click.option(
    "--representative",
    "representative_dataset",
    metavar="SAMPLES",
    type=click.Path(),
    help="Samples of the inputs for int8, along the first axis: a .npy file, or for "
    "several inputs a .npz file with their names, or without any in their order.",
)
@click.option(
    "--input-type",
    "inference_input_type",
    type=click.Choice(TYPES),
    default="float32",
    show_default=True,
    help="What the file takes in place of floating-point inputs.",
)
@click.option(
    "--output-type",
    "inference_output_type",
    type=click.Choice(TYPES),
    default="float32",
    show_default=True,
    help="Likewise, of the outputs.",
)
@click.option(
    "--dynamic-batch",
    is_flag=True,
    help="Leave the batch size to the interpreter; else it is 1. Costs speed.",
)
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(),
    help="Names of the classes, one in each line, for the file's metadata.",
)
@click.option(
    "--strict/--no-strict",
    default=True,
    show_default=True,
    help="Whether a shared weight that the file stores several times is an error.",
)
@options.timeout
def export(
    model: str,
    output: str,
    representative_dataset: str | None,
    labels: str | None,
    **arguments: Any,
) -> Outcome:
    """Write a Keras model as a .tflite file in which shared weights stay shared.

    The file is run and compared with the model before OUT is written. Layers of
    keras_share are known; models with layers of your own are exported from Python,
    with keras_share.export_tflite.
    """
    from keras_share.atomic import check_writable
    from keras_share.export.convert import export_tflite
    from keras_share.quantize.tfmot import check_backend
    from keras_share.retrofit.keras_file import load_keras_file

    check_writable(output)
    if os.path.realpath(output) == os.path.realpath(model):
        raise click.BadParameter("OUT would take the place of MODEL.keras.")
    try:
        check_backend("export")
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    if representative_dataset is not None:
        arguments["representative_dataset"] = _samples(representative_dataset)
    if labels is not None:
        arguments["metadata"] = {"labels": _lines(labels)}
    with progress("exporting and comparing"):
        report = export_tflite(load_keras_file(model), output, **arguments)
    return Outcome(str(report), report.to_dict())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`labels` must be a file of text in UTF-8. Received: {path!r} ({error})"
        ) from error


def _samples(path: str) -> "np.ndarray | list[np.ndarray] | dict[str, np.ndarray]":
    """Arrays of a file; a list where they have no names of inputs."""
    import numpy as np

    from keras_share.archive import check_unpacked

    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        check_unpacked(path)
        arrays = dict(loaded)
    except OSError:
        raise
    except Exception as error:  # NumPy and zipfile raise what a damaged file leads to
        raise ValueError(
            "`representative_dataset` must be a file of numpy.save or numpy.savez, "
            f"without objects. Received: {path!r} ({error})"
        ) from error
    unnamed = list(arrays) == [f"arr_{i}" for i in range(len(arrays))]
    return list(arrays.values()) if unnamed or len(arrays) == 1 else arrays
