"""Archives that are far larger than they look."""

import zipfile

import keras
import numpy as np
import pytest

from keras_share.archive import check_unpacked
from keras_share.retrofit.keras_file import load_keras_file


def test_a_bomb_is_not_unpacked(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    load_keras_file(tmp_path / "model.keras")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as source,
        zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "config.json":
                content = b" " * 2**25 + content
            bomb.writestr(entry.filename, content)
    with pytest.raises(ValueError, match=r"100 times its size.*bomb\.keras' of"):
        load_keras_file(tmp_path / "bomb.keras")


def test_what_compresses_well_is_none(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(10**6, "float32"))
    check_unpacked(tmp_path / "x.npz")  # 4 MB
