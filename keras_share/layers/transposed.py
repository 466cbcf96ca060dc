"""`Transposed`: one more use of a layer's matrix, the other way round."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from keras_share.layers import reuse
from keras_share.layers.sublayers import Untracked, sublayers
from keras_share.layers.weight_arguments import WeightArguments


@keras.saving.register_keras_serializable(package="keras_share")
class Transposed(WeightArguments):
    """Multiplies by the transposed matrix of another layer.

    The matrix is the kernel of a `Dense` layer or the table of an `Embedding`, and is
    read from there; the bias is this layer's own. `Transposed(dense)` is the decoder
    of an autoencoder with tied weights, `Transposed(embedding)` the output layer of a
    language model, from hidden states to one logit per word. The gradient of the
    matrix is the sum over its uses. Regularizers and constraints are the other
    layer's, and freezing this layer freezes it, too.

    A `.keras` file holds the matrix once and is still tied when loaded, and copies of a
    model are tied as they are with `Tied`. Keras knows a shared layer by its place in
    the model, so of a layer that is inside another one (a composite layer, a model in
    the model), pass the outer one and the way to it:
    `Transposed(backbone, "token_embedding")`.

    Args:
        layer: A `keras.layers.Dense` or `keras.layers.Embedding`, or a layer that
            holds one. It must be built, or called on its inputs, before this layer.
        part: Where in `layer` the `Dense` or `Embedding` is: the name of an attribute
            (in a model: of a layer), or several joined by dots. None for `layer`
            itself.
        activation: Activation function. None applies none.
        use_bias: Whether to add a bias, of one value per row of the matrix.
        **kwargs: `bias_initializer`, `bias_regularizer` and `bias_constraint`; and base
            layer keyword arguments, such as `name`. `dtype` defaults to that of the
            `Dense` or `Embedding`.

    Input shape:
        `(..., columns)` of the matrix: the output of the `Dense` or `Embedding`.

    Output shape:
        `(..., rows)`: the input of the `Dense`, the vocabulary of the `Embedding`.

    Raises:
        ValueError: If there is no `Dense` or `Embedding` where `layer` and `part` say,
            if it isn't built or is quantized, or if the width of the input isn't that
            of its output.

    Example:
    >>> import keras, keras_share
    >>> encoder = keras.layers.Dense(32, activation="relu")
    >>> decoder = keras_share.Transposed(encoder)
    >>> model = keras.Sequential([keras.Input((784,)), encoder, decoder])
    >>> model.count_params()  # one 784 x 32 kernel, biases of 32 and 784
    25904

    Reference:
    - [Press & Wolf, 2016](https://arxiv.org/abs/1608.05859) (output embedding)
    - [Vincent et al., 2010](https://jmlr.org/papers/v11/vincent10a.html) (autoencoder)
    """

    weight_kinds: ClassVar[dict[str, str]] = {"bias": "zeros"}

    def __init__(
        self,
        layer: keras.Layer,
        part: str | None = None,
        activation: str | Callable | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        source = find_part(layer, part)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = source.dtype_policy
        super().__init__(**kwargs)
        self.source = source
        # Weights of an outer layer other than those of `source` aren't this layer's.
        self._outer = Untracked(layer)
        self.part = part
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.supports_masking = True

    @property
    def layer(self) -> keras.Layer:
        """The layer as it was passed: `source`, or what holds it."""
        return self._outer.value

    @property
    def matrix(self) -> Any:
        """The matrix as the other layer has it."""
        source = self.source
        if not source.built:
            raise ValueError(
                "A layer must be built before the transposed use of its matrix. Call "
                f"'{source.name}' on its inputs before '{self.name}'."
            )
        if source.quantization_mode is not None:
            raise ValueError(
                f"The matrix of '{source.name}' is quantized "
                f"({source.quantization_mode}) and can't be used by '{self.name}'. "
                "Leave that layer out when the model is quantized."
            )
        is_table = isinstance(source, keras.layers.Embedding)
        return source.embeddings if is_table else source.kernel

    def build(self, input_shape: Any) -> None:
        """Checks the width of the input and creates the bias."""
        rows, columns = self.matrix.shape
        if input_shape[-1] != columns:
            raise ValueError(
                f"The input of '{self.name}' must be as wide as the output of "
                f"'{self.source.name}' ({columns}). "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: columns})
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(rows,), **self.weight_arguments(bias="")
            )

    def call(self, inputs: Any) -> Any:
        outputs = ops.matmul(inputs, ops.transpose(self.matrix))
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.matrix.shape[0])

    def use_of(self, layer: keras.Layer, **changes: Any) -> "Transposed":
        """The same use of another layer, with other arguments where given."""
        use = type(self)(layer, **{**self._options(), **changes})
        if use.source is layer and self.source.built and not layer.built:
            # Its own first use may come later.
            layer.build_from_config(self.source.get_build_config())
        return use

    def get_build_config(self) -> None:
        """None: when a file is loaded, the other layer may get built by its call."""
        return None

    def get_config(self) -> dict[str, Any]:
        return {
            **self._options(),
            "layer": reuse.serialize(self.layer, self),
            "activation": keras.activations.serialize(self.activation),
        }

    def _options(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "part": self.part,
            "activation": self.activation,
            "use_bias": self.use_bias,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Transposed":
        config = dict(config)
        layer = reuse.deserialize(config.pop("layer"), config["name"])
        return cls(layer, **config)


def find_part(
    layer: keras.Layer, part: str | None
) -> keras.layers.Dense | keras.layers.Embedding:
    """The `Dense` or `Embedding` at a path below a layer.

    Raises:
        ValueError: If there is none.
    """
    found: Any = layer
    for name in part.split(".") if part else ():
        layers = found.layers if isinstance(found, keras.Model) else ()
        named = [x for x in layers if x.name == name]
        found = named[0] if named else getattr(found, name, None)
    if not _has_matrix(found):
        inside = [x.name for x in sublayers(layer) if _has_matrix(x)]
        raise ValueError(
            "`layer` must be a keras.layers.Dense or keras.layers.Embedding, or `part` "
            f"lead to one inside (build `layer` first, if need be). Inside: {inside}. "
            f"Received: layer={layer!r}, part={part!r}"
        )
    return found


def _has_matrix(layer: Any) -> bool:
    return isinstance(layer, (keras.layers.Dense, keras.layers.Embedding))
