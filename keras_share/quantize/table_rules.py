"""Rules for tables of words and of positions, also those of KerasHub."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_share.flat.written import LayerUse
from keras_share.layers.transposed import Transposed
from keras_share.quantize.rules import QuantizeRule, register_rule, writes

_HUB = "keras_hub>"


@writes(
    *(layers.ReversibleEmbedding, f"{_HUB}ReversibleEmbedding"),
    how="as an Embedding and its Transposed: one int8 table with one range",
)
def _reversible_embedding(use: LayerUse, inputs: Any, reverse: bool = False) -> Any:
    layer = use.op
    weights = [layer.embeddings]
    table = use.part_layer(
        ("table",),
        lambda: layers.Embedding(layer.input_dim, layer.output_dim, name="table"),
        (None,),
        weights,
    )
    if not reverse:
        return table(inputs)
    if layer.tie_weights:
        product = use.part_layer(
            ("product",),
            lambda: Transposed(table, use_bias=False, name="product"),
            inputs.shape,
            weights,
        )
        logits = product(inputs)
    else:
        logits = use.dense(inputs, layer.reverse_embeddings)
    cap = getattr(layer, "logit_soft_cap", None)
    return ops.tanh(logits * (1 / cap)) * cap if cap else logits


@writes(layers.CategoryEncoding, how="as `ops.one_hot`, and its largest or sum")
def _category_encoding(use: LayerUse, inputs: Any, count_weights: Any = None) -> Any:
    layer = use.op
    if count_weights is not None or layer.sparse:
        use.refuse("its counts have weights, or it is sparse")
    x = inputs
    if layer.output_mode == "one_hot" and len(x.shape) > 1 and x.shape[-1] == 1:
        x = ops.squeeze(x, -1)
    x = ops.one_hot(ops.cast(x, "int32"), layer.num_tokens)
    if layer.output_mode == "one_hot":
        return x
    return (ops.sum if layer.output_mode == "count" else ops.max)(x, axis=-2)


@writes(layers.IntegerLookup, how="integers, as comparisons with all of them")
def _integer_lookup(use: LayerUse, inputs: Any) -> Any:
    layer = use.op
    if layer.output_mode != "int" or layer.num_oov_indices != 1 or layer.invert:
        use.refuse("it makes other things than places, or has several for the unknown")
    words = layer.get_vocabulary(include_special_tokens=False)
    unknown = 0 if layer.mask_token is None else 1
    places = np.arange(1, len(words) + 1, dtype="int32")  # behind the unknown
    if unknown:
        words, places = [layer.mask_token, *words], np.append(np.int32(-1), places)
    same = ops.equal(ops.expand_dims(inputs, -1), np.array(words, inputs.dtype))
    return ops.sum(ops.where(same, places, 0), axis=-1) + unknown


@keras.saving.register_keras_serializable(package="keras_share")
class Places(keras.layers.Layer):
    """The places 0, 1, ... along the last axis but one, for each of a batch.

    Args:
        first: The first of them.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, first: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.first = first

    def call(self, inputs: Any) -> Any:
        length = inputs.shape[-2]
        places = ops.arange(self.first, self.first + length, dtype="int32")
        return ops.broadcast_to(places, ops.shape(inputs)[:-1])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape[:-1], "int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "first": self.first}


# Made of the sizes of its input alone.
register_rule(Places, QuantizeRule(how="integers"))


@writes(f"{_HUB}PositionEmbedding", how="as an Embedding of the places")
def _position_embedding(
    use: LayerUse, inputs: Any, start_index: Any = 0, positions: Any = None
) -> Any:
    layer = use.op
    if positions is None:
        if not isinstance(start_index, int) or inputs.shape[-2] is None:
            use.refuse("its length or first place is not known")
        positions = Places(start_index, name="places")(inputs)
    [size, width] = layer.position_embeddings.shape
    return use.call(
        lambda: layers.Embedding(size, width, name="table"),
        "table",
        positions,
        [layer.position_embeddings],
    )
