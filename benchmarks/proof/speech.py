"""Speech: spoken digits, by speakers that were not trained on."""

import keras
import numpy as np
from keras import layers
from keyword_parts.augmentation import Augmentation, disguised_features
from keyword_parts.datasets import load_data
from log_mel import frontend_model

from proof.candidate import Candidate, normalized
from proof.task import Data, Task

FRAMES, NUM_MELS = 61, 24  # of a second at 8 kHz
DISGUISES = 4  # versions of each recording that are trained on


class Speech(Task):
    """Tells ten words apart, in log-mel features of a second."""

    name = "speech"

    def load(self, seed: int) -> Data:
        """The seed draws who is trained on, who chosen by, and who tested on."""
        split = load_data(self.source or "spoken-digits", seed=seed).split
        frontend = frontend_model(split.train.x, split.train.sample_rate, NUM_MELS)
        disguised = np.concatenate(
            disguised_features(
                split.train.x,
                frontend.predict_on_batch,
                Augmentation(),
                DISGUISES,
                seed,
            )
        )
        x_val, x_test = (
            frontend.predict(part.x, batch_size=64, verbose=0)
            for part in (split.validation, split.test)
        )
        y = np.tile(split.train.labels, DISGUISES)
        return Data(
            disguised, y, x_val, split.validation.labels, x_test, split.test.labels
        )

    def batches(
        self, data: Data, rng: np.random.Generator, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Recordings with stretches of time and bands blanked."""
        x, y = super().batches(data, rng, steps)
        return Augmentation().mask(x, rng), y

    def network(self, candidate: Candidate, width: int) -> keras.Model:
        """Frames to half as many places, blocks over time, a classifier."""
        inputs = keras.Input((FRAMES, NUM_MELS), name="features")
        x = layers.Reshape((1, FRAMES, NUM_MELS), name="row")(inputs)
        x = layers.Conv2D(width, (1, 3), (1, 2), use_bias=False, name="stem")(x)
        x = candidate.stack(kernel_size=(1, 7))(normalized(x, "first"))
        x = layers.GlobalAveragePooling2D(name="pooling")(normalized(x, "last"))
        return keras.Model(inputs, layers.Dense(10, name="head")(x))
