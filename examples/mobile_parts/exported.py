"""What becomes of a network on the device: its files, and their accuracy."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_share as ks
from mobile_parts.images import Images

PRECISIONS = ("float32", "dynamic", "int8")


def accuracy(logits: np.ndarray, images: Images) -> float:
    """The share of right answers."""
    return float(np.mean(logits.argmax(axis=1) == images.y))


def export_files(
    name: str,
    network: keras.Model,
    precisions: Sequence[str],
    samples: np.ndarray,
    test: Images,
    folder: Path,
) -> pd.DataFrame:
    """Exports a trained network in several precisions, and runs the files.

    Those of a network that shares are rolled, too: the same is written by
    `export_tflite` with `target="cpu"`, which converts the model once more.

    Args:
        name: What the files are called by.
        network: The network.
        precisions: Some of `PRECISIONS`.
        samples: Images to find the ranges of int8 activations with.
        test: Images to run the files on.
        folder: Where to write the files.

    Returns:
        A row for each file: its name, the `network` and its number of `parameters`,
        its `precision`, whether it is `rolled`, the accuracy of the network in Keras
        (`keras_accuracy`) and of the file (`accuracy`), and how far its outputs are
        from those of the unrolled file (`rolled_difference`, as a share of the largest
        one).
    """
    facts = {
        "network": name,
        "parameters": network.count_params(),
        "keras_accuracy": accuracy(network.predict(test.x, verbose=0), test),
    }
    rows = []
    for precision in precisions:
        path = folder / f"{name}_{precision}.tflite"
        export_file(network, precision, samples, path)
        paths = [path]
        report = ks.roll(path)
        if report.bodies:  # else nothing is shared
            paths.append(path.with_stem(f"{path.stem}_rolled"))
            paths[-1].write_bytes(report.data)
        outputs = [ks.predict_tflite(each, test.x) for each in paths]
        for each, logits in zip(paths, outputs, strict=True):
            far = np.abs(logits - outputs[0]).max() / np.abs(outputs[0]).max()
            rows.append(
                {
                    "file": each.name,
                    **facts,
                    "precision": precision,
                    "rolled": each != path,
                    "accuracy": accuracy(logits, test),
                    "rolled_difference": float(far),
                }
            )
    return pd.DataFrame(rows)


def export_file(
    network: keras.Model, precision: str, samples: np.ndarray, path: Path
) -> None:
    """Exports a network in one of `PRECISIONS`, without control flow."""
    if precision == "int8":
        # Sites that are to be one subgraph must have one range for each tensor in it.
        network = ks.quantize_model(network, samples, ranges="group")
    ks.export_tflite(
        network,
        path,
        target="accelerator",
        quantization=None if precision == "int8" else precision,
        representative_dataset=samples,
    )
