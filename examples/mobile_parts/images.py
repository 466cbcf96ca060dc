"""Where images come from: scikit-learn's digits, CIFAR-10 or a folder."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

DATASETS = ("digits", "cifar10")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer")
_CIFAR10 += ("dog", "frog", "horse", "ship", "truck")
_TEST, _VALIDATION = 0.25, 0.15  # of all images, and of those not for the test


@dataclass(frozen=True)
class Images:
    """Images `(n, size, size, channels)` in [0, 1], and the indices of their classes.

    Args:
        x: The images, in float32.
        y: The classes, `(n,)`.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def some(self, count: int) -> "Images":
        """At most so many of them, drawn evenly."""
        step = -(-len(self) // count)
        return Images(self.x[::step], self.y[::step])


@dataclass(frozen=True)
class Split:
    """Images to train on, to choose the best epoch by, and to test on.

    Args:
        train: Trained on.
        validation: Chosen by.
        test: Touched by nothing but the closing test.
        classes: Names of the classes.
    """

    train: Images
    validation: Images
    test: Images
    classes: list[str]

    def some(self, count: int) -> "Split":
        """At most so many images of each part."""
        parts = (self.train, self.validation, self.test)
        return Split(*(part.some(count) for part in parts), self.classes)


def load_images(source: str, size: int, seed: int = 0) -> Split:
    """Reads images, brings them to a size and splits them.

    Args:
        source: One of `DATASETS`, or a folder with one folder of images per class.
        size: Height and width in pixels. The digits, of 8 x 8 pixels, are magnified.
        seed: Which images are drawn for validation and test. CIFAR-10 comes with a
            test set of its own.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a class has too few images to split.
    """
    if source == "cifar10":
        (x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
        rest = Images(_resized(x / 255, size), y[:, 0])
        test = Images(_resized(x_test / 255, size), y_test[:, 0])
        classes = [
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ]
    else:
        images, classes = _digits() if source == "digits" else _folder(source, size)
        images = Images(_resized(images.x, size), images.y)
        rest, test = _split(images, _TEST, seed)
    return Split(*_split(rest, _VALIDATION, seed), test, classes)


def _digits() -> tuple[Images, list[str]]:
    x, y = load_digits(return_X_y=True)
    return Images((x / 16).reshape(-1, 8, 8, 1), y), [str(digit) for digit in range(10)]


def _folder(source: str, size: int) -> tuple[Images, list[str]]:
    if not Path(source).is_dir():
        raise FileNotFoundError(
            f"`--data` must be one of {', '.join(DATASETS)}, or a folder with one "
            f"folder of images per class. Received: {source!r}"
        )
    found = keras.utils.image_dataset_from_directory(
        source,
        batch_size=None,
        image_size=(size, size),
        crop_to_aspect_ratio=True,
        shuffle=False,
        verbose=False,
    )
    x, y = zip(*found.as_numpy_iterator(), strict=True)
    return Images(np.stack(x) / 255, np.array(y)), found.class_names


def _resized(x: np.ndarray, size: int) -> np.ndarray:
    x = x.astype("float32")
    if x.shape[1:3] == (size, size):
        return x
    return keras.ops.convert_to_numpy(keras.ops.image.resize(x, (size, size)))


def _split(images: Images, share: float, seed: int) -> tuple[Images, Images]:
    """All but a share of the images, and that share, with equal parts of each class."""
    x, x_held, y, y_held = train_test_split(
        images.x, images.y, test_size=share, stratify=images.y, random_state=seed
    )
    return Images(x, y), Images(x_held, y_held)
