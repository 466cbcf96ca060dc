"""Rules for LSTM and GRU: written out step by step, with one kernel for all steps."""

from typing import Any

import keras
from keras import layers, ops

from keras_share.flat.written import LayerUse, Written
from keras_share.quantize.rules import writes
from keras_share.quantize.weight_rules import activate

# Each step is about ten operators in the file.
_MAX_STEPS = 128


def _refuses(layer: layers.LSTM | layers.GRU) -> str | None:
    if layer.stateful:
        return "it keeps its state from batch to batch"
    if layer.dropout or layer.recurrent_dropout:
        return "it drops out inside of its loop"
    if isinstance(layer, layers.GRU) and not layer.reset_after:
        return "it has reset_after=False"
    return None


def _run(
    use: LayerUse, x: Any, initial_state: Any, mask: Any, step: Any, num_states: int
) -> Any:
    """Runs `step(x, *states)` along the second axis; returns what Keras does."""
    layer = use.op
    length = x.shape[1]
    if mask is not None:
        use.refuse("it has a mask")
    if length is None or length > _MAX_STEPS:
        use.refuse(f"its length must be known and at most {_MAX_STEPS}")
    states = [None] * num_states
    if initial_state is not None:
        states = keras.tree.flatten(initial_state)
    # One object for all steps, which have their quantization ranges in common.
    cell = Written(use, step, name="step")
    outputs = []
    for i in range(length):
        place = length - 1 - i if layer.go_backwards else i
        arguments = [x[:, place], *states]
        states = step(use, *arguments) if None in states else cell(*arguments)
        states = states if num_states > 1 else [states]
        outputs.append(states[0])
    result = ops.stack(outputs, axis=1) if layer.return_sequences else states[0]
    return (result, *states) if layer.return_state else result


_settings = {
    "refuse": _refuses,
    "how": "one step after the other, for a known length of at most "
    f"{_MAX_STEPS}; the steps share kernels and ranges",
}


@writes(layers.LSTM, **_settings)
def _lstm(use: LayerUse, sequences: Any, initial_state=None, mask=None, **_: Any):
    layer = use.op

    def step(use, x, h, c):
        if h is None:
            # Without its forget gate: a part that nothing reads would leave the
            # split in floating point.
            units = layer.units
            i, g, o = (x[:, k * units : (k + 1) * units] for k in (0, 2, 3))
        else:
            x = x + use.dense(h, layer.cell.recurrent_kernel)
            i, f, g, o = ops.split(x, 4, axis=-1)
        new = activate(layer.recurrent_activation, i) * activate(layer.activation, g)
        if c is not None:
            new = activate(layer.recurrent_activation, f) * c + new
        h = activate(layer.recurrent_activation, o) * activate(layer.activation, new)
        return [h, new]

    bias = layer.cell.bias if layer.use_bias else None
    x = use.dense(sequences, layer.cell.kernel, bias)
    return _run(use, x, initial_state, mask, step, num_states=2)


@writes(layers.GRU, **_settings)
def _gru(use: LayerUse, sequences: Any, initial_state=None, mask=None, **_: Any):
    layer = use.op
    bias = layer.cell.bias if layer.use_bias else None

    def step(use, x, h):
        # Two rows, as the bias has: of the input and of the state.
        x = ops.expand_dims(x, 1)
        if h is None:
            x = ops.pad(x, [[0, 0], [0, 1], [0, 0]])
        else:
            recurrent = use.dense(h, layer.cell.recurrent_kernel)
            x = ops.concatenate([x, ops.expand_dims(recurrent, 1)], axis=1)
        x = use.affine(x, offset=bias)
        a, b = ops.split(x, 2, axis=1)
        za, ra, ga = ops.split(ops.squeeze(a, 1), 3, axis=-1)
        zb, rb, gb = ops.split(ops.squeeze(b, 1), 3, axis=-1)
        z = activate(layer.recurrent_activation, za + zb)
        r = activate(layer.recurrent_activation, ra + rb)
        new = (1.0 - z) * activate(layer.activation, ga + r * gb)
        return new if h is None else z * h + new

    x = use.dense(sequences, layer.cell.kernel)
    return _run(use, x, initial_state, mask, step, num_states=1)


_MERGE = {
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    "sum": ops.add,
    "mul": ops.multiply,
    "ave": lambda a, b: (a + b) * 0.5,
}


@writes(layers.Bidirectional, how="both layers, and what merges them")
def _bidirectional(use: LayerUse, sequences: Any, initial_state=None, mask=None, **_):
    layer = use.op
    if mask is not None or initial_state is not None or layer.return_state:
        use.refuse("it has a mask, or takes or returns states")
    forward = layer.forward_layer(sequences)
    backward = layer.backward_layer(sequences)
    if layer.return_sequences:
        backward = ops.flip(backward, axis=1)
    if layer.merge_mode is None:
        return [forward, backward]
    return _MERGE[layer.merge_mode](forward, backward)
