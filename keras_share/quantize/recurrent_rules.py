"""Rules for recurrent layers: one step of the cell is written, and run in a loop."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from keras_share.flat.tensors import new_input
from keras_share.flat.written import LayerUse
from keras_share.layers.recurrent import Recurrent
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.rules import writes
from keras_share.quantize.weight_rules import activate

_CONVOLUTIONAL = (layers.ConvLSTM1D, layers.ConvLSTM2D)


def _refuses(layer: layers.RNN) -> str | None:
    if layer.stateful:
        return "it keeps its state from batch to batch"
    cells = list(sublayers(layer))
    if any(getattr(cell, "recurrent_dropout", 0) for cell in cells):
        return "it drops out of its states (recurrent_dropout)"
    dropouts = any(getattr(cell, "dropout", 0) for cell in cells)
    if dropouts and type(layer) in (layers.RNN, *_CONVOLUTIONAL):
        return "its cell drops out of its inputs"
    if not isinstance(layer.cell, keras.Layer):
        return "its cell is no layer"
    return None


@writes(
    *(layers.GRU, layers.LSTM, layers.RNN, layers.SimpleRNN, *_CONVOLUTIONAL),
    refuse=_refuses,
    how="one step of the cell, in a loop over a known length; the steps share kernels "
    "and ranges",
)
def _recurrent(
    use: LayerUse, sequences: Any, initial_state: Any = None, mask: Any = None, **_: Any
) -> Any:
    layer = use.op
    if sequences.shape[1] is None:
        use.refuse(
            "the length of its input is not known: pass a `representative_dataset`, or "
            "give `keras.Input` a length"
        )
    states = [] if initial_state is None else tree.flatten(initial_state)
    if not all(isinstance(state, keras.KerasTensor) for state in states):
        use.refuse("its first state is a constant")
    dropout = getattr(layer, "dropout", 0)
    if dropout:  # the same at each step
        sequences = layers.SpatialDropout1D(dropout, name="dropout")(sequences)
    given, late = [sequences], False
    if mask is not None:
        seen = ops.where(ops.cast(tree.flatten(mask)[0], "bool"), 1.0, 0.0)
        given.append(ops.expand_dims(seen, -1))
        late = bool(states) and not layer.zero_output_for_mask
        if late:  # nothing was seen yet
            states.append(ops.minimum(given[1][:, 0], 0.0))
    loop = Recurrent(
        _step(use, [x.shape[2:] for x in given], late),
        sequences=len(given),
        return_sequences=layer.return_sequences,
        return_state=layer.return_state,
        go_backwards=layer.go_backwards,
        name="steps",
    )
    outputs = loop(*given, *states)
    return outputs[:-1] if late and layer.return_state else outputs


def _step(
    use: LayerUse, shapes: list[tuple[int | None, ...]], late: bool
) -> keras.Model:
    """A model of one step of the cell of a layer.

    Args:
        use: The use of the layer.
        shapes: Of a place of the sequence, and of its mask, if it has one.
        late: Whether the output is zero until something was seen.
    """
    layer = use.op
    first = layer.get_initial_state(batch_size=1)
    if any(np.any(ops.convert_to_numpy(state)) for state in tree.flatten(first)):
        use.refuse("its first state is not zero")
    x, *masks = (new_input((None, *shape)) for shape in shapes)
    states = tree.map_structure(lambda s: new_input((None, *s.shape[1:])), first)
    y, new = layer.cell(x, states)
    given, new = tree.flatten(states), tree.flatten(new)
    if masks:
        [seen] = masks
        place = _state_of_output(use, shapes[0], first)
        new = [_where(seen, *pair) for pair in zip(new, given, strict=True)]
        y = new[place]
        if late:
            given.append(new_input(seen.shape))
            new.append(ops.maximum(given[-1], seen))
        if late or layer.zero_output_for_mask:
            y = _where(new[-1] if late else seen, y, 0.0)
    return keras.Model([x, *masks, *given], [y, *new])


def _where(seen: Any, x: Any, other: Any) -> Any:
    """One of two, by a number that is zero or one: exact among integers, too."""
    seen = ops.reshape(seen, (-1, *(1 for _ in x.shape[1:])))
    return ops.where(seen > 0.5, x, other)


def _state_of_output(use: LayerUse, shape: tuple[int | None, ...], first: Any) -> int:
    """The place of the state that the output of a cell is, where that is masked."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *(size or 1 for size in shape))).astype("float32")
    y, *states = map(ops.convert_to_numpy, tree.flatten(use.op.cell(x, first)))
    for place, state in enumerate(states):
        if np.array_equal(y, state):
            return place
    use.refuse("it has a mask, and the output of its cell is none of its states")


@writes(layers.SimpleRNNCell, how="products, sum, activation function")
def _simple_cell(use: LayerUse, x: Any, states: Any, **_: Any) -> Any:
    cell = use.op
    [h] = tree.flatten(states)
    x = use.dense(x, cell.kernel, cell.bias)
    h = activate(cell.activation, x + use.dense(h, cell.recurrent_kernel))
    return h, tree.pack_sequence_as(states, [h])


@writes(layers.LSTMCell, how="products, sums, gates")
def _lstm_cell(use: LayerUse, x: Any, states: Any, **_: Any) -> Any:
    cell = use.op
    h, c = states
    x = use.dense(x, cell.kernel, cell.bias)
    return _gated(cell, x + use.dense(h, cell.recurrent_kernel), c)


def _gated(cell: keras.Layer, x: Any, c: Any) -> Any:
    i, f, g, o = ops.split(x, 4, axis=-1)
    new = activate(cell.recurrent_activation, i) * activate(cell.activation, g)
    c = activate(cell.recurrent_activation, f) * c + new
    h = activate(cell.recurrent_activation, o) * activate(cell.activation, c)
    return h, [h, c]


# The class is not public by itself, and a variable of a real layer would start
# TensorFlow, whose threads can't be chosen any more after that.
with keras.StatelessScope(initialize_variables=False):
    _CONVOLUTIONAL_CELL = type(layers.ConvLSTM2D(1, 1).cell)


@writes(_CONVOLUTIONAL_CELL, how="convolutions, sums, gates")
def _convolutional_cell(use: LayerUse, x: Any, states: Any, **_: Any) -> Any:
    cell = use.op
    if cell.data_format != "channels_last":
        use.refuse("its channels are not the last axis")
    kind = layers.Conv1D if cell.rank == 1 else layers.Conv2D

    def convolved(x: Any, weights: list[keras.Variable], **settings: Any) -> Any:
        def make() -> keras.Layer:
            filters, size = 4 * cell.filters, cell.kernel_size
            return kind(filters, size, use_bias=len(weights) > 1, **settings)

        return use.call(make, weights[0].name, x, weights)

    h, c = states
    weights = [cell.kernel] if cell.bias is None else [cell.kernel, cell.bias]
    x = convolved(
        *(x, weights),
        strides=cell.strides,
        padding=cell.padding,
        dilation_rate=cell.dilation_rate,
    )
    return _gated(cell, x + convolved(h, [cell.recurrent_kernel], padding="same"), c)


@writes(layers.GRUCell, how="products, sums, gates")
def _gru_cell(use: LayerUse, x: Any, states: Any, **_: Any) -> Any:
    cell = use.op
    [h] = tree.flatten(states)
    kernel = cell.recurrent_kernel
    if cell.reset_after and cell.use_bias:
        biases = use.rows(cell.bias)
    else:
        biases = [cell.bias, None]
    x = use.dense(x, cell.kernel, biases[0])
    recurrent = use.dense(h, kernel, biases[1])
    xz, xr, xg = ops.split(x, 3, axis=-1)
    hz, hr, hg = ops.split(recurrent, 3, axis=-1)
    z = activate(cell.recurrent_activation, xz + hz)
    r = activate(cell.recurrent_activation, xr + hr)
    reset = r * hg if cell.reset_after else use.dense(r * h, kernel)[:, -cell.units :]
    h = z * h + (1.0 - z) * activate(cell.activation, xg + reset)
    return h, tree.pack_sequence_as(states, [h])


_MERGE = {
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    "sum": ops.add,
    "mul": ops.multiply,
    "ave": lambda a, b: (a + b) * 0.5,
}


@writes(layers.Bidirectional, how="both layers, and what merges them")
def _bidirectional(use: LayerUse, sequences: Any, initial_state=None, mask=None, **_):
    layer = use.op
    states = tree.flatten(initial_state) if initial_state is not None else []
    half = len(states) // 2
    given = {} if mask is None else {"mask": mask}

    def run(layer: keras.Layer, states: list) -> list:
        more = {**given, "initial_state": states} if states else given
        return tree.flatten(layer(sequences, **more))

    forward, *last = run(layer.forward_layer, states[:half])
    backward, *first = run(layer.backward_layer, states[half:])
    if layer.return_sequences:
        backward = ops.flip(backward, axis=1)
    merge = _MERGE.get(layer.merge_mode, lambda a, b: [a, b])
    merged = merge(forward, backward)
    return [*tree.flatten(merged), *last, *first] if last else merged
