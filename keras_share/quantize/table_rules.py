"""Rules for tables of words and of positions, also those of KerasHub."""

from typing import Any

import keras
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
