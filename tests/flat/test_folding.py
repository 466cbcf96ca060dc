import keras
import numpy as np
import pytest

from keras_share.flat.folding import IDENTITY_LAYERS

ARGUMENTS = {
    "ActivityRegularization": (0.1,),
    "AlphaDropout": (0.1,),
    "Dropout": (0.1,),
    "GaussianDropout": (0.1,),
    "GaussianNoise": (0.1,),
    "RandomBrightness": (0.1,),
    "RandomColorDegeneration": (0.5,),
    "RandomContrast": (0.1,),
    "RandomHue": (0.1,),
    "RandomPosterization": (4,),
    "RandomRotation": (0.1,),
    "RandomSaturation": (0.5,),
    "RandomSharpness": (0.5,),
    "RandomTranslation": (0.1, 0.1),
    "RandomZoom": (0.1,),
    "SpatialDropout1D": (0.1,),
    "SpatialDropout2D": (0.1,),
}


@pytest.mark.parametrize("kind", IDENTITY_LAYERS)
def test_layers_for_training_only_do_nothing_at_inference(kind):
    layer = kind(*ARGUMENTS.get(kind.__name__, ()))
    shape = (2, 6, 3) if kind.__name__.endswith("1D") else (2, 6, 6, 3)
    x = np.random.default_rng(0).uniform(size=shape).astype("float32")
    np.testing.assert_array_equal(layer(x, training=False), x)


def test_no_augmentation_of_keras_is_missing():
    names = {x for x in dir(keras.layers) if x.startswith("Random")}
    others = {"RandomCrop"}  # which cuts at inference as well
    assert names - others <= {kind.__name__ for kind in IDENTITY_LAYERS}
