import keras
import numpy as np
from keras import layers, ops
from own_relaxation import RankOne
from random_data import randomize, values

from keras_share import SharedStack, export_tflite


def test_trains_saves_and_keeps_the_kernel_shared(tmp_path):
    model = keras.Sequential([keras.Input((16,))])
    model.add(SharedStack(layers.Dense(16, "relu"), "AAA", relax=RankOne(0.5)))
    assert model.count_params() == 16 * 16 + 16 + 3 * 2 * 16
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = values(3, 16)
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(m(x)) for m in (model, loaded))
    )
    report = export_tflite(model, tmp_path / "model.tflite")
    assert [b.uses for b in report.buffers if b.nbytes == 4 * 256] == [3]
