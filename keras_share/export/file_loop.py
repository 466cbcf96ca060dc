"""`FileLoop`: a loop in the form of which the converter makes integers."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops, tree

from keras_share.export.rounded import rounding
from keras_share.layers.recurrent import Recurrent
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.quantize_weights import QuantizeWeights


class FileLoop(Recurrent):
    """A `Recurrent` whose loop has no lists of tensors, and rounds what goes around.

    Between a loop and its body the converter keeps integers only of what is rounded on
    both sides. The places of the sequence are looked up; the outputs so far are one
    tensor, which moves by one place in each step.

    Args:
        step: As of `Recurrent`.
        layers: The layers that round, by name.
        **kwargs: As of `Recurrent`.
    """

    def __init__(
        self,
        step: keras.Model,
        layers: Mapping[str, FakeQuantize | QuantizeWeights],
        **kwargs: Any,
    ):
        super().__init__(step, **kwargs)
        rounders = [layers.get(name or "") for name in self.rounders]
        self._roundings = list(map(rounding, rounders))
        # TFLite's converter has no concatenation in 16 bits.
        wide = any(isinstance(r, FakeQuantize) and r.num_bits > 8 for r in rounders)
        self._push = _padded if wide else _concatenated

    def _loop(
        self, sequences: Any, states: Sequence[Any], watching: list, training: Any
    ) -> list[Any]:
        import tensorflow as tf

        times, batch = sequences[0].shape[1], ops.shape(sequences[0])[0]
        *round_given, round_y = self._roundings
        round_places = round_given[: self.sequences]
        round_states = round_given[self.sequences :]

        def rounded(states: Sequence[Any]) -> list[Any]:
            return [r(s) for r, s in zip(round_states, states, strict=True)]

        def whole(sequences: Sequence[Any]) -> list[Any]:
            return [r(x) for r, x in zip(round_places, sequences, strict=True)]

        def body(i: Any, sequences: list, states: list, output: Any) -> tuple:
            place = times - 1 - i if self.go_backwards else i
            places = [tf.gather(x, place, axis=1) for x in whole(sequences)]
            y, *new = tree.flatten(
                self.step([*places, *rounded(states)], training=False)
            )
            if self.return_sequences:
                output = round_y(self._push(round_y(output), ops.expand_dims(y, 1)))
            elif known is None:
                output = y
            return i + 1, sequences, new, output

        known = None if self.return_sequences else self.state_of_output
        output = self.first_output(batch, *([times] if self.return_sequences else []))
        output = output if known is not None else round_y(output)
        start = rounded(self.initial_states(states, batch))
        _, _, states, output = tf.while_loop(
            lambda i, *_: i < times, body, (0, whole(sequences), start, output)
        )
        states = rounded(states)
        output = round_y(output) if known is None else states[known]
        return [output, *states, ops.zeros((0, 2))]


def _concatenated(outputs: Any, y: Any) -> Any:
    """The outputs without the first one, and one more."""
    return ops.concatenate([outputs[:, 1:], y], axis=1)


def _padded(outputs: Any, y: Any) -> Any:
    rest, others = outputs[:, 1:], [[0, 0]] * (len(y.shape) - 2)
    before = ops.pad(y, [[0, 0], [rest.shape[1], 0], *others])
    return ops.pad(rest, [[0, 0], [0, 1], *others]) + before
