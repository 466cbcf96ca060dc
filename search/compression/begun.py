"""What a compression was begun with, which it must go on with."""

import hashlib
import json

import keras

from keras_share.atomic import write_atomically
from keras_share.search.compression.job import Job
from keras_share.search.compression.originals import digest


def begin(job: Job) -> bool:
    """Begins what is in the folder; returns whether it was begun before.

    More trials and files may be asked for then; what trials depend on must be the
    same, else this is a ValueError.
    """
    model, kinds = job.originals.fresh(), job.designer.kinds
    same = ("epochs", "final_epochs", "target", "seed", "learning_rate", "widths")
    limits = {f"limit of {name}": most for name, most in job.limits.items()}
    now = {name: getattr(job, name) for name in (*same, "quantizations", "relax")}
    now |= limits | {
        "model": digest(model, values=not job.widths),
        "train": job.train.digest,
        "validation": job.validation.digest,
        "batch_size": job.train.batch_size,
        "loss and metrics": _compiled(model),
        "objective": [job.objective.name, job.objective.direction],
        # One kind goes without its name, which Keras may have counted on.
        "blocks": kinds if len(kinds) > 1 else list(kinds.values()),
    }
    now = json.loads(json.dumps(now, default=float))  # numbers of NumPy
    path = job.work / "begun.json"
    if not path.exists():
        write_atomically(path, json.dumps(now))
        return False
    before = json.loads(path.read_text(encoding="utf-8"))
    names = dict.fromkeys([*before, *now])
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed:
        raise ValueError(
            "A compression that goes on must be of the same model and samples, and "
            f"train alike. Changed since {str(job.output)!r} was begun: "
            f"{', '.join(changed)}. Choose another `output`, or delete it."
        )
    return True


def _compiled(model: keras.Model) -> str:
    """What a model was compiled with, but for the optimizer, which training changes."""
    config = {**model.get_compile_config(), "optimizer": None}
    text = json.dumps(config, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
