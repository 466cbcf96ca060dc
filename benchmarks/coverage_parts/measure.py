"""One model through everything: shared, quantized, exported, run in LiteRT."""

import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

import keras_share as ks
from coverage_parts.cases import Case
from keras_share.tflite.runtimes.agreement import agreement_of

FLOAT_ERROR, INT8_RATIO = 1e-4, 25.0
_OURS = Path(ks.__file__).parent


@dataclass(frozen=True)
class Row:
    """What became of one model.

    Attributes:
        name: What is tried.
        shared: What sharing did: weights before and after, or "".
        float: `"yes"`, `"no"` or `"error"`.
        int8: `"int8"`, `"part"`, `"float"`, `"no"` or `"error"`.
        why: Why it is not in int8, or what went wrong.
    """

    name: str
    shared: str = ""
    float: str = ""
    int8: str = ""
    why: str = ""


def measure(name: str, case: Case) -> Row:
    """Tries one model; never raises."""
    warnings.simplefilter("ignore")
    try:
        model = case.model()
    except Exception as error:
        return Row(name, "", "no", "no", f"Keras can't make it: {_first(error)}")
    found: dict[str, str] = {}
    for part in (_shared, _float, _int8):
        try:
            found.update(part(model, case))
        except Exception as error:
            result = "no" if _is_ours(error) else "error"
            found[part.__name__[1:]] = result
            found["why"] = _first(error)
            if result == "error":
                traceback.print_exc()
    return Row(name, **found)


def _shared(model: keras.Model, case: Case) -> dict[str, str]:
    """What sharing makes of blocks that repeat."""
    repeated = case.repeated(model)
    if repeated is None:
        return {}
    if not len(ks.find_sites(repeated)):
        return {"shared": "no sites"}
    shared = ks.share(repeated, "shared")
    return {"shared": f"{repeated.count_params()} → {shared.count_params()}"}


def _float(model: keras.Model, case: Case) -> dict[str, str]:
    x = case.samples(8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        ks.export_tflite(model, path, representative_dataset=x)
        off = max(
            float(np.max(np.abs(a - b), initial=0) / max(1.0, float(np.abs(a).max())))
            for a, b in _both(model, path, x)
        )
    if not off <= FLOAT_ERROR:
        return {"float": "error", "why": f"the float file is off by {off:.2g}"}
    return {"float": "yes"}


def _int8(model: keras.Model, case: Case) -> dict[str, str]:
    x = case.samples(64)
    quantized = ks.quantize_model(model, representative_dataset=x)
    report = ks.quantize.quantization_report(model)
    left = {f"{row.kind}: {row.reason}": 0 for row in report.float_layers}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        audit = ks.export_tflite(quantized, path, representative_dataset=x)
        ratios = [
            agreement_of("", a, b, None).ratio
            for a, b in _both(model, path, [part[:16] for part in x])
        ]
    why = "; ".join(left)
    lowest = min(ratios)
    if not left and audit.float_operators:
        return {"int8": "error", "why": f"floats in the file: {audit.float_operators}"}
    if lowest < INT8_RATIO and case.jumps:
        why = f"{lowest:.1f} dB, as {case.jumps}; {why}"
    elif lowest < INT8_RATIO:
        return {"int8": "error", "why": f"{lowest:.1f} dB; {why}"}
    all_float = len(report.float_layers) == len(report.rows)
    return {"int8": ("float" if all_float else "part") if left else "int8", "why": why}


def _both(
    model: keras.Model, path: Path, x: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each output of a model and of its file."""
    expected = keras.tree.flatten(model(x, training=False))
    found = ks.predict_tflite(path, x if len(x) > 1 else x[0])
    outputs = found.values() if isinstance(found, dict) else [found]
    for ours, theirs in zip(expected, outputs, strict=True):
        yield keras.ops.convert_to_numpy(ours), theirs


def _first(error: Exception) -> str:
    text = " ".join(str(error).split(" What it says itself:")[0].split())
    return text if len(text) < 400 else f"{text[:400]}…"


def _is_ours(error: Exception) -> bool:
    """Whether a message of this package tells what is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(frames[-1].filename).is_relative_to(_OURS)
    return isinstance(error, (ValueError, RuntimeError)) and ours
