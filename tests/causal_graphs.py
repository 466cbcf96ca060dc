"""Random models that can stream, of every kind of layer that can."""

import keras
import numpy as np
from keras import layers, ops

from keras_share import SharedStack
from keras_share.blocks import ConformerBlock, SeparableConvBlock, WindowedAttention

WIDTH = 4


def crop(x, frames):
    return x[:, frames:] if frames else x


class CausalGraphs:
    """Draws models of a sequence of WIDTH features, and what they are computed with."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def model(self, length=None):
        """A model whose strides divide `stride`, which is set."""
        self.stride = 1
        inputs = keras.Input((length, WIDTH), name="audio")
        x = inputs
        for _ in range(self.rng.integers(2, 6)):
            x = self._any(
                *(self._convolution, self._elementwise, self._recurrent),
                *(self._residual, self._branches, self._shared, self._pooling),
                self._attention,
            )(x)
        outputs = {"frames": x}
        if self.rng.random() < 0.3:
            outputs["last"] = layers.GRU(2)(x)
        model = keras.Model(inputs, outputs)
        for v in model.trainable_variables:
            v.assign(self.rng.uniform(-0.7, 0.7, size=v.shape))
        for layer in model.layers:
            for v in layer.non_trainable_variables:
                if "moving" in v.path:
                    v.assign(self.rng.uniform(0.5, 1.5, size=v.shape))
        return model

    def sequences(self, frames):
        return self.rng.normal(size=(2, frames, WIDTH)).astype("float32")

    def _any(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def _size(self):
        return int(self.rng.integers(1, 5))

    def _strides(self):
        stride = self._any(1, 1, 1, 2)
        if self.stride * stride > 4:
            return 1
        self.stride *= stride
        return stride

    def _convolution(self, x):
        size, rate = self._size(), self._any(1, 1, 2, 3)
        stride = self._strides() if rate == 1 else 1
        kind = self._any("conv", "depthwise", "separable")
        settings = {"strides": stride, "dilation_rate": rate}
        causal = self.rng.random() < 0.5
        if kind == "conv":
            padding = "causal" if causal else "valid"
            return layers.Conv1D(WIDTH, size, padding=padding, **settings)(x)
        if causal:
            x = layers.ZeroPadding1D(((size - 1) * rate, 0))(x)
        if kind == "separable":
            return layers.SeparableConv1D(WIDTH, size, **settings)(x)
        return layers.DepthwiseConv1D(size, **settings)(x)

    def _pooling(self, x):
        kind = self._any(layers.AveragePooling1D, layers.MaxPooling1D)
        size = self._size()
        if self.rng.random() < 0.5:
            x = ops.pad(x, [[0, 0], [size - 1, 0], [0, 0]])
        return kind(size, strides=self._strides())(x)

    def _elementwise(self, x):
        return self._any(
            layers.BatchNormalization(),
            layers.LayerNormalization(),
            layers.Dense(WIDTH, "relu"),
            layers.Activation("swish"),
            layers.Dropout(0.5),
            lambda x: ops.tanh(x) * 0.5 + ops.flip(x, axis=-1),
            lambda x: ops.transpose(ops.relu(ops.transpose(x, (0, 2, 1))), (0, 2, 1)),
        )(x)

    def _recurrent(self, x):
        kind = self._any(layers.GRU, layers.LSTM, layers.SimpleRNN)
        return kind(WIDTH, return_sequences=True)(x)

    def _attention(self, x):
        return WindowedAttention(2, 1 + self._size())(x)

    def _residual(self, x):
        size = self._size()
        y = layers.Conv1D(WIDTH, size, activation="relu")(x)
        start = int(self.rng.integers(0, size))
        return layers.Add()([y, layers.Cropping1D((start, size - 1 - start))(x)])

    def _branches(self, x):
        sizes = [self._size() for _ in range(3)]
        longest = max(sizes)
        ys = [crop(layers.Conv1D(2, n)(x), longest - n) for n in sizes]
        return layers.Dense(WIDTH)(layers.Concatenate()(ys))

    def _shared(self, x):
        pattern = self._any("AA", "ABA", "AAB")
        block = SeparableConvBlock(self._size(), rank=1, padding="causal")
        kind = self._any("separable", "separable", "recurrent", "conformer")
        if kind == "recurrent":
            block = keras.Sequential([layers.GRU(WIDTH, return_sequences=True)])
        if kind == "conformer":
            size, window = self._size(), 1 + self._size()
            block = ConformerBlock(2, 6, size, padding="causal", window=window)
        return SharedStack(block, pattern)(x)
