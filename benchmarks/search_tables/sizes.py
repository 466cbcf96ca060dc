"""Exported bytes of every pattern, for both tables: their networks are the same."""

import tempfile
from pathlib import Path

import keras
import pandas as pd

import keras_share as ks
from keras_share import SharingPattern
from keras_share.atomic import write_atomically
from search_tables.network import NUM_SITES, keras_model, parameters
from search_tables.tables import FOLDER

FILE = FOLDER / "sizes.csv"


def sizes() -> pd.DataFrame:
    """Groups, parameters and bytes by pattern; measured where `sizes.csv` lacks them.

    To measure takes 1.5 seconds for each of the 203 patterns.
    """
    rows = pd.read_csv(FILE).to_dict("records") if FILE.exists() else []
    for pattern in list(SharingPattern.all(NUM_SITES))[len(rows) :]:
        rows.append(
            {
                "pattern": str(pattern),
                "num_groups": pattern.num_groups,
                "parameters": parameters(pattern.num_groups),
                "exported_bytes": exported_bytes(pattern),
            }
        )
        write_atomically(FILE, pd.DataFrame(rows).to_csv(index=False).encode())
    return pd.DataFrame(rows)


def exported_bytes(pattern: SharingPattern | str) -> int:
    """Size of the `.tflite` file of the Keras model, whatever its weights."""
    # The file holds the names of layers, which are numbered through a session.
    keras.utils.clear_session()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        ks.export_tflite(
            keras_model(pattern), path, quantization="dynamic", target="accelerator"
        )
        return path.stat().st_size
