"""What is trainable in a tied layer, and stays so in the layer that it uses."""

import keras
import pytest
from tied_models import block

from keras_share import Tied


def test_a_frozen_layer_can_be_unfrozen_with_its_ties():
    inner = block()
    inner.build((None, 8))
    inner.trainable = False
    tied = Tied(inner)
    tied.build((None, 8))
    assert not tied.trainable_weights
    tied.trainable = True
    assert len(tied.trainable_weights) == 4 + 2
    assert len(tied.non_trainable_weights) == 2 + 2


@pytest.mark.filterwarnings("ignore:The copy of")
@pytest.mark.parametrize("name", ["dense", "norm"])
def test_what_is_frozen_inside_stays_frozen(name):
    inner = block()
    inner.build((None, 8))
    inner.get_layer(name).trainable = False
    tied = Tied(inner)
    tied.build((None, 8))
    assert not inner.get_layer(name).trainable_weights
    frozen = {"dense": 2, "norm": 4}[name]  # the norm has private copies
    assert len(tied.trainable_weights) == 2 + 2 + 2 - frozen
    copy = Tied.from_config(keras.saving.serialize_keras_object(tied)["config"])
    copy.build((None, 8))
    assert len(copy.trainable_weights) == len(tied.trainable_weights)


def freeze_kernel(inner):
    inner.get_layer("dense").kernel.trainable = False


def freeze_all_but_norm(inner):
    inner.trainable = False
    inner.get_layer("norm").trainable = True


def unfreeze_statistics(inner):
    inner.get_layer("norm").moving_mean.trainable = True


@pytest.mark.parametrize(
    "change", [freeze_kernel, freeze_all_but_norm, unfreeze_statistics]
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_use_changes_nothing_of_its_layer(change, nested):
    inner = block()
    inner.build((None, 8))
    change(inner)
    used = keras.Sequential([inner, Tied(inner, "bias")]) if nested else inner

    def switches():
        items = (inner, *inner.layers, *inner.variables)
        return [item.trainable for item in items]

    before = switches()
    tied = Tied(used, ["normalization", "bias"])
    assert switches() == before
    tied.build((None, 8))
    assert switches() == before
    copies = {v.path: copy.trainable for v, copy in tied.private_copies}
    assert copies == {v.path: v.trainable for v, _ in tied.private_copies}
