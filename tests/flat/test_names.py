import keras
from keras import layers

from keras_share.flat.names import output_names


def test_operations_lose_their_number_and_layers_keep_theirs():
    x = keras.Input((2,), name="x")
    y = layers.Dense(2, name="dense_3")(x)
    model = keras.Model(x, [y, x, y + 1.0])
    assert output_names(model) == ["dense_3", "x", "add"]
    last = layers.Dense(2, name="last")
    assert output_names(keras.Sequential([keras.Input((2,)), last])) == ["last"]
