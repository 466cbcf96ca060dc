"""`Settings`: everything a run depends on, and the file that remembers it."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from keras_share.atomic import write_atomically


@dataclass(frozen=True)
class Settings:
    """What a run depends on beside its text.

    Args:
        mode: What the blocks share; see `albert_parts.modes.parse_mode`.
        size: Name of a configuration in `albert_parts.config.CONFIGS`.
        steps: Steps of pretraining.
        tuning_steps: Steps of training the classifier.
        batch_size: Examples per step.
        length: Tokens per example, special tokens and padding included.
        vocabulary_size: Most words of the vocabulary, special tokens included.
        learning_rate: Highest learning rate of pretraining.
        tuning_rate: Highest learning rate of training the classifier.
        num_parts: Parts of the text that the classifier tells apart.
        freeze: Whether the classifier leaves the encoder as it is.
        seed: Seed of the weights, the masks and the order of the examples.
    """

    mode: str = "shared"
    size: str = "small"
    steps: int = 2500
    tuning_steps: int = 300
    batch_size: int = 32
    length: int = 32
    vocabulary_size: int = 2000
    learning_rate: float = 2e-3
    tuning_rate: float = 5e-4
    num_parts: int = 8
    freeze: bool = False
    seed: int = 0


_PUBLISHED = Settings(
    steps=125_000,
    tuning_steps=2000,
    batch_size=64,
    length=512,
    vocabulary_size=30_000,
    learning_rate=1e-4,
    tuning_rate=2e-5,
)

# What each size is trained with, unless told otherwise.
PRESETS = {
    "tiny": Settings(
        size="tiny", steps=6, tuning_steps=4, batch_size=4, vocabulary_size=200
    ),
    "small": Settings(),
    **{
        size: replace(_PUBLISHED, size=size)
        for size in ("base", "large", "xlarge", "xxlarge")
    },
}


def remember(settings: Settings, text: str, folder: Path) -> None:
    """Writes what a run depends on into its folder, or compares with what is there.

    Raises:
        ValueError: If the folder is that of a run with other settings or another text.
    """
    ours = {**asdict(settings), "text": hashlib.sha256(text.encode()).hexdigest()}
    path = folder / "settings.json"
    if not path.exists():
        write_atomically(path, json.dumps(ours, indent=2).encode())
        return
    theirs = json.loads(path.read_text())
    changed = sorted(k for k in ours if ours[k] != theirs.get(k))
    if changed:
        raise ValueError(
            "A run goes on only with the settings and the text that it began with. In "
            f"{str(folder)!r} these differ: "
            + ", ".join(f"{k} ({theirs.get(k)!r}, now {ours[k]!r})" for k in changed)
            + ". Choose another folder, or remove that one."
        )
