"""`Program`: what a layer runs on given arguments, one level deep.

Calling `layer.call` on symbolic tensors records the layers and operations inside, and
`keras.models.clone_model` walks such a record through its `call_function`. Both are
public, and between them they open composite layers without a list of known ones.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

import keras
from keras import ops, tree

from keras_share.flat.as_layers import with_biases
from keras_share.flat.masks import mask_arguments, mask_of, set_mask
from keras_share.flat.on_tensors import Reads, on_tensors, own_weights
from keras_share.flat.records import SIZES, Call, are_alike, for_any_batch
from keras_share.flat.tensors import corresponding, fresh_input, replaced, tensors
from keras_share.flat.written import Refusal, Written, on_symbols
from keras_share.layers.substitute import accepts_training

# Their calls run what was recorded when they were made, in training as at inference.
_FUNCTIONAL = (keras.Sequential, keras.Function)
# Of layers inside that return something else than one tensor, as Keras understands it.
_INDIVISIBLE = "total size of the tensor must be unchanged"
_NO_TENSORS = ("All operation outputs must be tensors", "Iterating over a symbolic")


def record(model: keras.Model) -> tuple[keras.Model, list[Call]]:
    """Runs a Functional model on new inputs; returns that run and its calls."""
    calls: list[Call] = []
    inputs = tree.map_structure(lambda x: fresh_input(x, name=x.name), model.input)
    for x, given in corresponding(inputs, model.input):
        if mask_of(given) is not None:  # one of the inputs, too
            pairs = corresponding(model.input, inputs)
            set_mask(x, next((b for a, b in pairs if a is mask_of(given)), None))

    def call(op: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        op = _with_free_size(op)
        if isinstance(op, keras.Layer):
            _call_masks(tensors((args, kwargs)), tree.flatten(inputs), calls)
            kwargs = {**kwargs, **mask_arguments(op, args, kwargs)}
            if not accepts_training(op):  # Keras leaves it out, too
                kwargs.pop("training", None)
        outputs = op(*args, **kwargs)
        calls.append(Call(op, args, kwargs, outputs))
        return outputs

    run = keras.models.clone_model(
        model,
        input_tensors=inputs,
        clone_function=lambda op: op,
        call_function=call,
    )
    return run, calls


def _call_masks(
    given: list[keras.KerasTensor], inputs: list[keras.KerasTensor], calls: list[Call]
) -> None:
    """Makes the masks of tensors by calls of the record."""
    known = {id(x) for x in inputs}
    known.update(id(x) for call in calls for x in tree.flatten(call.outputs))
    for x in given:
        mask = mask_of(x)
        if mask is None or id(mask) in known:
            continue
        made, steps = record(keras.Model(inputs, mask))
        env = dict(zip(made.inputs, inputs, strict=True))
        for op, args, kwargs, outputs in steps:
            given_args, given_kwargs = replaced((args, kwargs), env)
            results = op(*given_args, **given_kwargs)
            calls.append(Call(op, given_args, given_kwargs, results))
            env.update(corresponding(outputs, results))
        new = env[made.outputs[0]]
        for other in given:
            if mask_of(other) is mask:
                set_mask(other, new)
        known.add(id(new))


class Program:
    """The layers and operations that `layer.call` runs, in order.

    Weights that the layer has beside those of layers inside are inputs of it, too.
    Where its `call` must know the batch size, which is open, what it runs for any is
    told from what it runs for two.

    Args:
        layer: The layer to open.
        args: Positional arguments of the call; symbolic tensors among them.
        kwargs: Keyword arguments, likewise.
        inference: Whether to record what it runs at inference only.

    Attributes:
        outer: The tensors among the arguments.
        weights: The weights that it computes with itself.
        of_one_layer: Whether all that read each of these do what one layer does.
        inputs: What stands for `outer` and the weights in the record.
        outputs: The outputs.

    Raises:
        Refusal: If its own `call` fails on symbolic tensors, reads weights of layers
            inside, or runs other operations in training than at inference.
    """

    def __init__(self, layer: keras.Layer, args: tuple, kwargs: dict, inference: bool):
        self.outer = with_masks((args, kwargs))
        modeled = isinstance(layer, (*_FUNCTIONAL, Written))
        self.weights = [] if modeled else own_weights(layer)
        self._inlined: list[keras.Layer] = []
        call = (layer, args, dict(kwargs), inference)
        try:
            self.inputs, self.calls, self.outputs = self._recorded(*call, None)
        except Refusal:
            free = [i for i, x in enumerate(self.outer) if x.shape[:1] == (None,)]
            if modeled or not free:
                raise
            self._record_for_any_batch(call, free[0])
        own = self.inputs[len(self.outer) :]
        given = (self.calls, own, self.weights, self.outputs)
        self._with_biases, found = with_biases(*given)
        self.of_one_layer = [id(x) in found for x in own]

    def _record_for_any_batch(self, call: tuple, free: int) -> None:
        for sizes in SIZES:
            try:
                one, other = (self._recorded(*call, size) for size in sizes)
            except Refusal as refusal:
                if sizes is SIZES[-1] or _INDIVISIBLE not in str(refusal):
                    raise
            else:
                self.inputs, self.calls, self.outputs = one
                like = self.inputs[free]
                self.calls = for_any_batch(self.calls, other[1], like, sizes)
                return

    def _recorded(self, layer: keras.Layer, *call: Any) -> tuple:
        """Inputs, calls and outputs of a record."""
        while True:
            try:
                return self._record(layer, *call)
            except ReadError as error:
                # A layer inside was called on constants.
                known = set(map(id, self.weights))
                found = [v for v in error.weights if id(v) not in known]
                if isinstance(layer, Written) or not found:
                    raise
                self.weights = [*self.weights, *found]
            except Refusal as refusal:
                around = [layer, *self._inlined]
                parts = [x for one in around for x in _direct_parts(one)]
                left = [x for x in dict.fromkeys(parts) if x not in self._inlined]
                if not any(map(str(refusal).__contains__, _NO_TENSORS)) or not left:
                    raise
                self._inlined += left
                self.weights += [v for x in left for v in own_weights(x)]

    def _record(
        self,
        layer: keras.Layer,
        args: tuple,
        kwargs: dict,
        inference: bool,
        batch_size: int | None,
    ) -> tuple[list[keras.KerasTensor], list[Call], Any]:
        inputs = [
            fresh_input(x, batch_size if x.shape[:1] == (None,) else None)
            for x in self.outer
        ]
        fresh = dict(zip(self.outer, inputs, strict=True))
        masks = {new: fresh.get(mask_of(x)) for x, new in fresh.items()}
        args, kwargs = replaced((args, kwargs), fresh)
        training = None
        with on_tensors(layer, self.weights, self._inlined) as weights:
            inputs += weights
            if accepts_training(layer) and not isinstance(layer, _FUNCTIONAL):
                if inference:
                    kwargs = {**kwargs, "training": False}
                else:
                    switched = {**kwargs, "training": True}
                    training = _trace(layer, inputs, args, switched, masks)[:2]
            run, calls, outputs = _trace(layer, inputs, args, kwargs, masks)
        if training is not None and not are_alike(training, (run, calls)):
            raise Refusal("it computes something else in training")
        layers = [x.op for x in calls if isinstance(x.op, keras.Layer)]
        called = {id(v) for x in layers for v in x.weights}
        both = [v for v in self.weights if id(v) in called]
        if both:  # they would be two in a model that is made of the calls
            raise Refusal(str(ReadError(both)))
        _check_constants(layer, calls)
        _check_functions(calls)
        if not isinstance(layer, _FUNCTIONAL):
            _check_sizes(calls)
        made = dict(zip(dict.fromkeys(tensors(outputs)), run.outputs, strict=True))
        return run.inputs, calls, replaced(outputs, made)

    def replay(
        self,
        call: Callable[[keras.Operation, tuple, dict], Any],
        weights: list[keras.KerasTensor] | None = None,
        biases: bool = True,
    ) -> Any:
        """Runs the program with `call(op, args, kwargs)` in place of each call.

        Args:
            call: Returns the outputs of one call.
            weights: What stands for `self.weights`.
            biases: Whether a kernel's call gets its bias too, which no operation takes.
        """
        env = dict(zip(self.inputs, [*self.outer, *(weights or ())], strict=True))
        for op, args, kwargs, outputs in self._with_biases if biases else self.calls:
            for x in tensors((args, kwargs)):
                if mask_of(x) in env:
                    set_mask(env[x], env[mask_of(x)])
            results = call(op, replaced(args, env), replaced(kwargs, env))
            env.update(corresponding(outputs, results))
        return replaced(self.outputs, env)


def with_masks(structure: Any) -> list[keras.KerasTensor]:
    """The tensors in a structure and their masks, each once.

    Attention takes one tensor as query, value and key.
    """
    given = tensors(structure)
    masks = [mask_of(x) for x in given if mask_of(x) is not None]
    return list(dict.fromkeys([*given, *masks]))


def _trace(
    layer: keras.Layer,
    inputs: list[keras.KerasTensor],
    args: tuple,
    kwargs: dict,
    masks: Mapping[keras.KerasTensor, Any],
) -> tuple[keras.Model, list[Call], Any]:
    for x, mask in masks.items():  # attention takes them off
        set_mask(x, mask)
    with nullcontext() if isinstance(layer, Written) else on_symbols():
        if isinstance(layer, _FUNCTIONAL):
            outputs = layer.call(*args, **kwargs)
        else:
            with Reads(_weights(layer)) as reads:
                outputs = layer.call(*args, **kwargs)
            if reads.found and not isinstance(layer, Written):
                raise ReadError(reads.found)
        # A constant among them is none of what is recorded.
        given = list(dict.fromkeys(tensors(outputs)))
        return *record(keras.Model(inputs, given)), outputs


def _weights(layer: keras.Layer) -> list[keras.Variable]:
    op = layer.use.op if isinstance(layer, Written) else layer
    return op.weights if isinstance(op, keras.Layer) else []


def _with_free_size(op: keras.Operation) -> keras.Operation:
    """A reshape by sizes as they were read off a tensor of unknown batch size."""
    sizes = None if isinstance(op, keras.Layer) else getattr(op, "newshape", None)
    if isinstance(sizes, (list, tuple)) and list(sizes).count(None) == 1:
        return type(op)(tuple(-1 if size is None else size for size in sizes))
    return op


class ReadError(Refusal):
    """Weights were read as values, which would be constants."""

    def __init__(self, weights: list[keras.Variable]):
        self.weights = list({id(v): v for v in weights}.values())
        paths = [v.path for v in self.weights]
        super().__init__(
            f"it uses weights outside of their layers' calls: {paths} "
            "(`keras_share.Transposed` is a second use of a table or kernel)"
        )


def _direct_parts(layer: keras.Layer) -> list[keras.Layer]:
    """The layers in attributes of a layer that are no layers of Keras."""
    return [
        x
        for name, value in vars(layer).items()
        if not name.startswith("_")
        for x in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(x, keras.Layer) and type(x).__module__.split(".")[0] != "keras"
    ]


def _check_sizes(calls: list[Call]) -> None:
    """Refuses sizes that are not known: these run on symbolic tensors only."""
    for op, *_ in calls:
        sizes = [] if isinstance(op, keras.Layer) else vars(op).items()
        if any(
            None in value
            for name, value in sizes
            if isinstance(value, (list, tuple)) and not name.startswith("_")
        ):
            raise Refusal(f"it passes a size that is open to {op.name}")


def _check_functions(calls: list[Call]) -> None:
    """Refuses functions of a record, of a loop or a branch, that read tensors of it."""
    for op, args, kwargs, _ in calls:
        given = [] if isinstance(op, keras.Layer) else [vars(op), args, kwargs]
        if any(map(_reads_tensors, filter(inspect.isfunction, tree.flatten(given)))):
            raise Refusal(f"a function inside {op.name} reads a tensor from outside")


def _reads_tensors(function: Any) -> bool:
    left, seen = [function], set()
    while left:
        x = left.pop()
        if isinstance(x, keras.KerasTensor):
            return True
        if not inspect.isfunction(x) or id(x) in seen:
            continue
        seen.add(id(x))  # one that calls itself reads itself
        for cell in x.__closure__ or ():
            with suppress(ValueError):  # of a name that has no value
                left += tree.flatten(cell.cell_contents)
    return False


def _check_constants(layer: keras.Layer, calls: list[Call]) -> None:
    """Refuses weights that reach the record as values and not as layers.

    Of a value in what a rule writes it can't be told where it came from: what could be
    a weight, or be computed from one, is refused. Single numbers (attention's scale)
    and integers (its causal mask) are, if no weight of the layer is of that kind.
    """
    weights = _weights(layer)
    scalars = any(len(v.shape) == 0 for v in weights)
    integers = any("float" not in v.dtype for v in weights)
    op = layer.use.op if isinstance(layer, Written) else layer
    can_have = isinstance(op, keras.Layer) and bool(op.variables)

    def may_be_weight(x: Any) -> bool:
        if not isinstance(layer, Written) or not ops.is_tensor(x):
            return False
        if len(x.shape) == 0 and not scalars:
            return False
        if not can_have:
            return False
        return "float" in keras.backend.standardize_dtype(x.dtype) or integers

    for op, args, kwargs, _ in calls:
        for x in tree.flatten((args, kwargs)):
            if isinstance(x, keras.Variable) and isinstance(layer, Written):
                raise ValueError(
                    f"The rule for '{layer.use.op.name}' passes its weight '{x.name}' "
                    f"to {op.name} as a value, which would become a constant. Pass it "
                    "to `use.affine`, `use.dense` or `use.call`."
                )
            if isinstance(x, keras.Variable) or may_be_weight(x):
                raise Refusal(f"it passes a weight or a constant tensor to {op.name}")
