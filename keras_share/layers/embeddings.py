"""`FactorizedEmbedding`: a narrow table and a projection to the width of the model."""

from typing import Any, ClassVar

import keras

from keras_share.layers.checks import check_positive_integer
from keras_share.layers.weight_arguments import WeightArguments


@keras.saving.register_keras_serializable(package="keras_share")
class FactorizedEmbedding(WeightArguments):
    """Turns ids into vectors by a narrow table and a projection.

    In place of a table of `vocabulary_size x hidden_dim`, one of
    `vocabulary_size x embedding_dim` and a `Dense` layer from `embedding_dim` to
    `hidden_dim`: for 30,000 words, 128 and 768, 3.9 million parameters instead of 23.
    The names of the sizes are those of KerasHub's `AlbertBackbone`.

    The sublayers are `embedding` and `projection`. For an output layer that is tied to
    the table, `Transposed(layer, "embedding")` takes vectors of `embedding_dim`. ALBERT
    leads to them by a `Dense` layer of its own; `Transposed(layer, "projection",
    use_bias=False)` goes the way back by the projection.

    Args:
        vocabulary_size: Number of ids.
        embedding_dim: Width of the table.
        hidden_dim: Width of the output.
        mask_zero: Whether the id 0 is padding, to be masked in the layers after.
        use_bias: Whether the projection has a bias.
        **kwargs: `embeddings_initializer`, `embeddings_regularizer` and
            `embeddings_constraint` of the table, the same of `kernel` and `bias` of
            the projection; and base layer keyword arguments, such as `name`.

    Input shape:
        Integers between 0 and `vocabulary_size - 1`, usually `(batch, length)`.

    Output shape:
        `(*input_shape, hidden_dim)`.

    Raises:
        ValueError: If a size isn't an integer of at least 1.

    Example:
    >>> import keras, keras_share
    >>> layer = keras_share.FactorizedEmbedding(30_000, 128, 768)
    >>> tuple(layer(keras.ops.ones((2, 5), "int32")).shape)
    (2, 5, 768)
    >>> layer.count_params()
    3939072

    Reference:
    - [Lan et al., 2019](https://arxiv.org/abs/1909.11942), section 3.1
    """

    weight_kinds: ClassVar[dict[str, str]] = {
        "embeddings": "uniform",
        **WeightArguments.weight_kinds,
    }

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        mask_zero: bool = False,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        # Ids may come as floats, as `keras.Input` has them unless told otherwise. Half
        # precision would round the large ones.
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        self.vocabulary_size = check_positive_integer(
            "vocabulary_size", vocabulary_size
        )
        self.embedding_dim = check_positive_integer("embedding_dim", embedding_dim)
        self.hidden_dim = check_positive_integer("hidden_dim", hidden_dim)
        self.mask_zero = mask_zero
        self.use_bias = use_bias
        self.supports_masking = True
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_dim,
            **self.weight_arguments(embeddings="embeddings_"),
            mask_zero=mask_zero,
            name="embedding",
            dtype=self.dtype_policy,
        )
        self.projection = keras.layers.Dense(
            hidden_dim,
            use_bias=use_bias,
            **self.weight_arguments(kernel="kernel_", bias="bias_"),
            name="projection",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any) -> None:
        """Builds the table and the projection."""
        self.embedding.build(input_shape)
        self.projection.build((*input_shape, self.embedding_dim))

    def call(self, inputs: Any) -> Any:
        return self.projection(self.embedding(inputs))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return self.embedding.compute_mask(inputs, mask)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape, self.hidden_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "mask_zero": self.mask_zero,
            "use_bias": self.use_bias,
        }
