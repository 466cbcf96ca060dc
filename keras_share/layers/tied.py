"""`Tied`: one more use of a layer."""

from typing import Any

import keras
from keras import ops

from keras_share.layers import private as private_spec
from keras_share.layers import reuse
from keras_share.layers.checks import options_around
from keras_share.layers.relax.relaxed import Relaxed
from keras_share.layers.sublayers import sublayers
from keras_share.layers.substitute import (
    accepts_training,
    as_called,
    build_by_call,
    call_with,
    is_built,
    needs_several_inputs,
)
from keras_share.layers.variable_map import VariableMap


@keras.saving.register_keras_serializable(package="keras_share")
class Tied(keras.layers.Wrapper):
    """One more use of a layer with its weights, some of them kept private.

    `Tied(layer)` computes what `layer` computes. It owns copies of the variables that
    `private` names, which start at the layer's values and then train on their own;
    everything else is read from `layer`, and the gradient of such a shared weight is
    the sum over its uses. Private normalization is what makes deep sharing train
    well (arXiv 1710.04773, section 4.5).

    A `.keras` file holds each weight once and is still tied when loaded, and so is what
    is made from JSON, a config, a `.h5` file or by `keras.models.clone_model`. Where
    nothing tells which layer that was, this one gets one of its own, of which a warning
    tells, and can't be saved.

    Args:
        layer: The layer to use once more. If it is not built yet, it is built when
            this layer is.
        private: What this use keeps for itself: `"normalization"` (all variables of
            every normalization layer inside), the name of a sublayer or weight, a
            list of such names, a function from a `keras.Variable` to a boolean, or
            None for nothing. A function must be registered with
            `keras.saving.register_keras_serializable` to be saved.
        **kwargs: Base layer keyword arguments, such as `name`. `dtype` is not among
            them: it is that of `layer`'s variables.

    Call arguments:
        inputs: Tensor or structure of tensors, the first argument of `layer`.
        *args, **kwargs: Further arguments of `layer`.

    Raises:
        ValueError: If `private` is malformed or names nothing inside `layer`, a
            `dtype` is given, or a recurrent layer in it keeps its state from batch to
            batch, which all of its uses would share.

    Example:
    >>> import keras, keras_share
    >>> dense = keras.layers.Dense(8)
    >>> model = keras.Sequential(
    ...     [keras.Input((8,)), dense, keras_share.Tied(dense, private="bias")]
    ... )
    >>> model.count_params()  # one 8 x 8 kernel, two biases
    80
    """

    def __init__(
        self,
        layer: keras.Layer,
        private: private_spec.Private = private_spec.NORMALIZATION,
        **kwargs: Any,
    ):
        if not getattr(layer, "trainable", True):
            # Or unfreezing this use would stop here, as it is no change for it.
            kwargs["trainable"] = False
        if isinstance(layer, keras.Layer):  # else an error follows
            self.call = as_called(self.call, layer)  # type: ignore[method-assign]
        super().__init__(layer, **options_around(layer, **kwargs))
        _check_stateless(layer)
        self.private = private_spec.standardize(private)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any) -> None:
        """Builds the layer if it isn't yet, and makes the private copies."""
        if not is_built(self.layer):
            if needs_several_inputs(self.layer):
                if not self.layer.built:
                    raise ValueError(
                        "A layer with several inputs must be built before its tied "
                        f"use. Call '{self.layer.name}' on its inputs first."
                    )
            elif type(self.layer).build is keras.Layer.build:
                build_by_call(self.layer, input_shape, self.compute_dtype)
            else:  # Keras counts calls: those of the layer have numbers in files.
                self.layer.build(input_shape)
        self.input_spec = self.layer.input_spec
        # Parallel lists and not pairs, so that Keras tracks the copies.
        own = self._own_weights(input_shape)
        self._originals = [variable for variable, _ in own]
        trained = _trainable_ids(self.layer)
        self._copies = [self._copy(v, start, id(v) in trained) for v, start in own]
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        """Nothing if the layer has no `build`: when loaded, both wait for a call."""
        waits = type(self.layer).build is keras.Layer.build
        return None if waits else super().get_build_config()

    def _own_weights(self, input_shape: Any) -> list[tuple[keras.Variable, Any]]:
        """Pairs of a weight to keep private and the initializer of its copy."""
        starts: VariableMap[Any] = VariableMap()
        for part in sublayers(self.layer):
            if isinstance(part, Relaxed):
                starts.update(part.start_site())
        return [
            (v, starts.get(v, value_of(v)))
            for v in private_spec.private_variables(self.layer, self.private)
        ]

    def _copy(
        self, variable: keras.Variable, initializer: Any, trainable: bool
    ) -> keras.Variable:
        inner = variable.path.removeprefix(self.layer.path or self.layer.name)
        copy = self.add_weight(
            name=inner.strip("/").replace("/", "_"),
            shape=variable.shape,
            dtype=variable.dtype,
            initializer=initializer,
            trainable=trainable,
            regularizer=variable.regularizer,
            constraint=variable.constraint,
            autocast=False,
        )
        copy.trainable = variable.trainable
        return copy

    @property
    def private_copies(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Pairs of a variable of the layer and what this use has in its place."""
        return list(zip(self._originals, self._copies, strict=True))

    def call(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        if accepts_training(self.layer):
            kwargs["training"] = training
        stand_ins = self.private_copies
        if not stand_ins:
            return self.layer(inputs, *args, **kwargs)
        outputs, losses = call_with(self.layer, stand_ins, inputs, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_output_spec(
        self, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        return self.layer.compute_output_spec(*args, **kwargs)

    def use_of(self, layer: keras.Layer, **changes: Any) -> "Tied":
        """The same use of another layer, with other arguments where given."""
        return type(self)(layer, **{**self._options(), **changes})

    def get_config(self) -> dict[str, Any]:
        return {
            **self._options(),
            "layer": reuse.serialize(self.layer, self),
            "private": private_spec.serialize(self.private),
        }

    def _options(self) -> dict[str, Any]:
        # Not that of `Wrapper`, which would serialize the layer.
        config = keras.layers.Layer.get_config(self)
        config.pop("dtype", None)
        return {**config, "private": self.private}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Tied":
        config = dict(config)
        layer = reuse.deserialize(config.pop("layer"), config["name"])
        config["private"] = private_spec.deserialize(config["private"])
        return cls(layer, **config)


def _check_stateless(layer: keras.Layer) -> None:
    for part in sublayers(layer):
        if isinstance(part, keras.layers.RNN) and part.stateful:
            raise ValueError(
                "A recurrent layer has one state, which all of its uses would share: a "
                "tied one can't keep it from batch to batch. Received: "
                f"'{part.name}' with stateful=True. Leave it False; "
                "`keras_share.streaming` gives each site a state of its own."
            )


def value_of(variable: keras.Variable) -> Any:
    """An initializer that copies a variable."""

    # A real copy: JAX refuses to donate one buffer twice. Made by an initializer,
    # because in a traced function the value may not exist yet.
    def initializer(shape, dtype=None):
        return ops.copy(ops.cast(variable.value, dtype or variable.dtype))

    return initializer


def block_of(site: keras.Layer) -> keras.Layer:
    """The layer that a site of a stack runs: that of a `Tied`, else the site."""
    return site.layer if isinstance(site, Tied) else site


def site_weights(layer: keras.Layer) -> list[keras.Variable]:
    """The weights that a layer uses: of a `Tied`, in the order of its layer's."""
    if not isinstance(layer, Tied):
        return layer.weights
    own = VariableMap(layer.private_copies)
    return [own.of(v) for v in layer.layer.weights]


def _trainable_ids(layer: keras.Layer) -> set[int]:
    """The variables of a layer that train when nothing is frozen.

    Keras files a weight that is added as not trainable among the moving statistics,
    where no later `trainable = True` reaches it, and tells one from the other only by
    what this switch does. Each switch is put back to where it was.
    """
    # Outer layers first, as they set those inside; each sets its variables.
    parts = sorted(sublayers(layer), key=lambda part: -len(list(sublayers(part))))
    variables = [v for part in parts for v in part.variables]
    before = [(item, item.trainable) for item in (*parts, *variables)]
    try:
        layer.trainable = True
        return {id(v) for v in layer.trainable_variables}
    finally:
        for item, trainable in before:
            item.trainable = trainable
