"""How candidates are trained: as their original was, and to say what it says."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops, tree

from keras_share.search.compression.data import Data

# Of a distribution that is softened the classes that are almost right tell most
# (Hinton et al., 2015, arXiv 1503.02531).
TEMPERATURE = 2.0

Distance = Callable[[Any, Any], Any]


class Judged(keras.Model):
    """What a model says, without the penalties of its weights and activities.

    A kernel that is shared is penalized once, and a file has no penalties: losses that
    have them can't be compared.
    """

    def __init__(self, model: keras.Model):
        super().__init__(name=model.name)
        if hasattr(model, "output_names"):  # a Sequential has none
            self.output_names = list(model.output_names)
        # In a function, as its layers and losses are no part of this model.
        self._say = lambda x: model(x, training=False)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._say(inputs)


class Distilled(keras.Model):
    """A student that learns from the targets and from what a teacher says.

    `keras.distillation.Distiller` leaves out weights of samples and takes neither
    dicts of metrics nor outputs with losses of their own, which `fit` does. `weight` is
    the share in the loss of the distances between their outputs.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        distances: Sequence[Distance],
        weight: float = 0.5,
    ):
        super().__init__(name=student.name)
        self.student = student
        if hasattr(student, "output_names"):  # a Sequential has none
            self.output_names = list(student.output_names)
        # In a function, as it is no part of this model and nothing is saved of it.
        self._teach = lambda x: teacher(x, training=False)
        self._distances = distances
        self._weight = weight
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.student(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        said, right = tree.flatten(y_pred), tree.flatten(self._teach(x))
        distance = sum(
            measure(one, ops.stop_gradient(other))
            for measure, one, other in zip(self._distances, said, right, strict=True)
        )
        return (1 - self._weight) * loss + self._weight * distance

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Those of the student, which is what a search keeps."""
        self.student.save_weights(*args, **kwargs)


def distances(model: keras.Model) -> list[Distance]:
    """How far each output of a model is from another's, after its loss.

    Crossentropies compare distributions, all else compares numbers.
    """
    losses = getattr(model, "loss", None)
    if isinstance(losses, dict):
        names = getattr(model, "output_names", ())
        if isinstance(getattr(model, "output", None), dict):
            names = tree.flatten({name: name for name in model.output})
        losses = [losses.get(name) for name in names]
    elif not isinstance(losses, (list, tuple)):
        losses = [losses] * len(model.outputs)
    return [_distance(loss) for loss in losses]


def _distance(loss: Any) -> Distance:
    loss = keras.losses.get(loss) if isinstance(loss, (str, dict)) else loss
    name = getattr(loss, "__name__", type(loss).__name__).lower().replace("_", "")
    logits = getattr(loss, "from_logits", False)
    if "categoricalcrossentropy" in name:
        return partial(_categorical, logits=logits)
    if "binarycrossentropy" in name:
        return partial(_binary, logits=logits)
    return lambda said, right: ops.mean(ops.square(said - right))


def _categorical(said: Any, right: Any, logits: bool) -> Any:
    scale = TEMPERATURE if logits else 1.0
    if logits:
        right, said = ops.softmax(right / scale), ops.log_softmax(said / scale)
    else:
        said = ops.log(said + 1e-7)
    divergence = ops.sum(right * (ops.log(right + 1e-7) - said), axis=-1)
    return ops.mean(divergence) * scale**2


def _binary(said: Any, right: Any, logits: bool) -> Any:
    right = ops.sigmoid(right) if logits else right
    return ops.mean(ops.binary_crossentropy(right, said, from_logits=logits))


def compile_as(
    model: keras.Model, original: keras.Model, learning_rate: float, steps: int
) -> None:
    """Compiles a model as its original was, for a number of steps.

    The learning rate falls to zero over them. XLA is left out: to compile takes longer
    than a candidate trains.
    """
    optimizer = _optimizer(original)
    falling = keras.optimizers.schedules.CosineDecay(learning_rate, max(steps, 1))
    fresh = type(optimizer).from_config(
        {**optimizer.get_config(), "learning_rate": falling}
    )
    config = original.get_compile_config()
    config["optimizer"] = keras.saving.serialize_keras_object(fresh)
    config["jit_compile"] = False
    model.compile_from_config(config)


def initial_rate(model: keras.Model) -> float:
    """The learning rate that a model was compiled with.

    Raises:
        ValueError: If it is a schedule that begins at zero.
    """
    rate = _optimizer(model).get_config()["learning_rate"]
    if isinstance(rate, dict):
        rate = keras.optimizers.schedules.deserialize(rate)(0)
    if not float(rate) > 0:
        raise ValueError(
            "The model was trained with a learning rate that begins at zero. Pass "
            "`learning_rate=`, at which candidates begin."
        )
    return float(rate)


def _optimizer(model: keras.Model) -> Any:
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def train(
    model: keras.Model,
    teacher: keras.Model | None,
    original: keras.Model,
    data: Data,
    *,
    epochs: int,
    learning_rate: float,
    validation: Data | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    steps: int | None = None,
) -> None:
    """Trains a model, compiled as its original, on the targets and a teacher, if any.

    `learning_rate` is that of the first step; `steps` are only so many batches of each
    epoch; after each it is evaluated on `validation`.
    """
    student = model
    if teacher is not None:
        student = Distilled(model, teacher, distances(original))
    compile_as(student, original, learning_rate, (steps or data.num_steps) * epochs)
    # Else Keras traces a second time, once the first step has made its variables.
    student.optimizer.build(student.trainable_variables)
    given = data.fit_arguments()
    if steps is not None:
        given["steps_per_epoch"] = steps
    student.fit(
        **given,
        validation_data=None if validation is None else validation.whole,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )


def judged(model: keras.Model, original: keras.Model) -> Judged:
    """What a model says, to be judged as its original was compiled."""
    made = Judged(model)
    compile_as(made, original, 1.0, 1)
    return made


def evaluate(model: Judged, samples: tuple[Any, ...]) -> dict[str, float]:
    """The loss and the metrics on arrays."""
    x, y, *weights = samples
    weight = weights[0] if weights else None
    found = model.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)
    return {name: float(value) for name, value in found.items()}
