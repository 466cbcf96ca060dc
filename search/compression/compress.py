"""`compress`: the smallest file of a trained model that keeps its accuracy."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
from filelock import FileLock, Timeout
from rich.console import Console

from keras_share.atomic import write_atomically
from keras_share.search.compression.begun import begin
from keras_share.search.compression.candidates import Candidate
from keras_share.search.compression.data import Data
from keras_share.search.compression.files import judge, make_file
from keras_share.search.compression.job import Job
from keras_share.search.compression.outcome import Compression
from keras_share.search.compression.plan import Plan, plan
from keras_share.search.compression.scores import Scores
from keras_share.search.compression.trials import CompressionModel
from keras_share.search.compression.verdict import choose, earned, excess, overrun
from keras_share.search.policies.starts import StartWith
from keras_share.search.project.record import TrialRecord
from keras_share.search.reporting.formats import format_seconds
from keras_share.search.space.sharing_space import RELAXATIONS
from keras_share.search.tuner.halting import HaltedError
from keras_share.search.tuner.sharing_search import SharingSearch


def compress(
    model: Any,
    train: Any,
    validation: Any,
    *,
    test: Any = None,
    output: str | os.PathLike = "compressed",
    max_bytes: float | None = None,
    max_latency: float | None = None,
    max_memory: float | None = None,
    target: str = "auto",
    objective: Any = None,
    tolerance: float = 0.01,
    trials: int = 20,
    epochs: int = 3,
    final_epochs: int | None = None,
    finalists: int = 3,
    widths: Sequence[int] = (),
    quantizations: Sequence[str] = (),
    relax: Sequence[str] = RELAXATIONS,
    learning_rate: float | None = None,
    batch_size: int = 32,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    seed: int = 1,
    verbose: str | int = "auto",
    dry_run: bool = False,
) -> Compression | Plan:
    """Makes the smallest file of a trained model that keeps its accuracy.

    Finds the blocks that repeat in the model, and searches which of them share (each
    kind of block, and each class of its layers), how sites that share may differ, and
    how it is quantized. Every candidate starts from the trained weights and learns from
    the original beside the targets. The best ones are trained on, quantized with
    training and exported, and it is the files that are run and judged. The model only
    quantized is always among them.

    Whatever ends it, the same call goes on where it was.

    Args:
        model: A trained and compiled Sequential or Functional model, or the path to one
            in a `.keras` file; or a function from a width to a compiled model, which is
            then trained here: the widest is the original.
        train: What to train on, as `fit` takes it: `(x, y)` or `(x, y, sample_weight)`
            of arrays, of dicts or of lists of them; a `tf.data.Dataset` or a
            `keras.utils.PyDataset` of batches; or a function that returns an iterable
            of batches.
        validation: What to choose candidates by.
        test: What to judge files on. By default the validation samples, on which what
            was chosen by them looks better than it is.
        output: The folder for `model.tflite`, `model.keras`, `report.html`,
            `report.md`, `trials.csv`, and, in `work`, for what is needed to go on.
        max_bytes: The most bytes that the file may have.
        max_latency: The longest that a run may take on this machine, in milliseconds.
        max_memory: The most memory while it runs, in bytes: for `target="micro"` the
            arena, else LiteRT's, as estimated.
        target: What the file is for, as of `keras_share.export_tflite`.
        objective: The metric to choose by, such as `"val_accuracy"`. By default the
            first that the model was compiled with of which more is better, else
            `"val_loss"`.
        tolerance: Without a budget, the smallest file is taken that loses at most so
            much of the original's score.
        trials: How many candidates to try.
        epochs: For how many epochs each of them is trained.
        final_epochs: For how many the finalists are; by default twice as many.
        finalists: How many files that share are made.
        widths: Where `model` is a function, the widths to choose from. Under
            `max_bytes` each candidate is as wide as just fits.
        quantizations: Ways of quantizing to choose from, as of
            `keras_share.quantize_model`. By default what suits the target.
        relax: How sites that share may differ: out of `"none"`, `"scale"`,
            `"low_rank"`.
        learning_rate: That of the first step; by default that of the model.
        batch_size: Samples of a batch, where they are arrays.
        steps_per_epoch: Batches of an epoch; for samples without an end.
        validation_steps: Likewise, of the validation samples.
        seed: Of all random draws.
        verbose: As of `SharingSearch.search`.
        dry_run: Whether to tell what would be done, and about how long it would take.

    Returns:
        A `Compression`; of a dry run a `Plan`.

    Raises:
        ValueError: If an argument is none of these; if the model or the samples have
            NaN, don't fit one another or are too few; if nothing in the model can be
            shared; if no candidate can keep the budget; or if the folder has the
            compression of something else. All of it is told before any training.
        RuntimeError: If Keras doesn't run on TensorFlow, or the search fails.

    Example:
    ```python
    found = compress(model, (x, y), (x_val, y_val), max_bytes=60_000, output="small")
    print(found.verdict)
    found.winner.path  # small/model.tflite
    ```
    """
    console = Console(soft_wrap=True, quiet=verbose == 0)
    keras.utils.set_random_seed(seed)
    chosen_by = Data(validation, "validation", batch_size, validation_steps)
    job = Job(
        model=model,
        train=Data(train, "train", batch_size, steps_per_epoch),
        validation=chosen_by,
        test=chosen_by if test is None else Data(test, "test", batch_size),
        output=Path(output),
        max_bytes=max_bytes,
        max_latency=max_latency,
        max_memory=max_memory,
        asked_objective=objective,
        target=target,
        trials=trials,
        epochs=epochs,
        final_epochs=2 * epochs if final_epochs is None else final_epochs,
        finalists=finalists,
        widths=tuple(sorted(widths)),
        asked_quantizations=tuple(quantizations),
        relax=tuple(relax),
        tolerance=tolerance,
        learning_rate=learning_rate,
        seed=seed,
        say=partial(console.print, markup=False, highlight=False),
    )
    if dry_run:
        return plan(job)
    if not begin(job):
        job.say(str(plan(job)))
    if job.widths:
        with _alone(job):
            job.say(f"training the original, of width {max(job.widths)}")
            job.originals.trained()
    tuner = _search(job, verbose)
    with _alone(job):
        return _finish(job, tuner)


@contextlib.contextmanager
def _alone(job: Job) -> Iterator[None]:
    """Lets others that compress in the folder wait, and find what was made."""
    lock = FileLock(job.work / "compress.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        job.say("waiting for another process, which works on the same files")
        held = lock.acquire()
    with held:
        yield


def _search(job: Job, verbose: str | int) -> SharingSearch:
    hypermodel = CompressionModel(job)
    tuner = SharingSearch(
        hypermodel,
        [job.objective, kt.Objective("exported_bytes", "min")],
        max_trials=job.trials,
        policy=StartWith(job.designer.starts()),
        export=None,
        measure=hypermodel.measure,
        keep_checkpoints=2 * job.finalists,
        on_change="continue",  # `begin` has compared all that it depends on
        seed=job.seed,
        directory=job.work,
        project_name="search",
    )
    tuner.oracle.limits.update(job.limits)
    try:
        tuner.search(epochs=job.epochs, verbose=verbose)
    except HaltedError as error:
        halted(job, tuner.results.records, error)
    return tuner


def halted(job: Job, records: Sequence[TrialRecord], error: HaltedError) -> None:
    """Goes on with what was found where a search ended early, else says why not."""
    last = max(records, key=lambda one: one.ended or 0)
    if last.status == "FAILED":
        raise RuntimeError(
            f"Candidates fail one after another, {last.pattern} at last with: "
            f"{last.reason}\nMend the cause and call it again: what was tried is kept "
            f"in {str(job.output)!r}."
        ) from error
    if any(one.status == "COMPLETED" for one in records):
        job.say("no other candidate is new and keeps the budget")
        return
    nearest = min(records, key=lambda one: excess(one.measures, job.limits))
    raise ValueError(
        f"No candidate keeps the budget. Of {len(records)} that were tried "
        f"{nearest.pattern} came nearest: {overrun(nearest.measures, job.limits)}. "
        "Loosen the budget, in another `output`, or pass a function of the width with "
        "narrower `widths`."
    ) from error


def _finish(job: Job, tuner: SharingSearch) -> Compression:
    paths: dict[str, tuple[Path, Candidate | None]] = {
        "original, float32": (
            make_file(job, "original", None, job.originals.trained),
            None,
        )
    }
    chosen = _chosen(job, tuner)
    job.say(f"making {len(chosen)} files")
    began = time.monotonic()
    for place, (name, (candidate, trial)) in enumerate(chosen.items(), start=1):
        build = partial(_model, job, tuner, candidate, trial)
        paths[str(candidate)] = make_file(job, name, candidate, build), candidate
        spent = time.monotonic() - began
        left = format_seconds(spent / place * (len(chosen) - place))
        job.say(f"file {place}/{len(chosen)}  {candidate}  about {left} left")
    scores = Scores(job.originals.trained(), job.test, job.metric)
    original, *made = judge(scores, paths)
    limits = job.limits
    winner, reason = choose(made, original, limits, job.sign, job.tolerance)
    for suffix in (".tflite", ".keras"):
        data = winner.path.with_suffix(suffix).read_bytes()
        write_atomically(job.output / f"model{suffix}", data)
    found = Compression(
        job.output,
        winner,
        [original, *made],
        reason,
        earned(winner, made, limits, scores, job.sign),
        excess(winner.costs, limits) <= 1,
        tuner.results,
        job.metric,
        f"{scores.count} {job.test.name} samples",
    )
    found.write()
    job.say(f"{found.reason} {found.verdict}\nAll is in {job.output.resolve()}")
    return found


def _chosen(job: Job, tuner: SharingSearch) -> dict[str, tuple[Candidate, Any]]:
    """What becomes a file, by name: what shares nothing, and the best that shares."""
    plain = job.designer.unshared(job.quantizations[0])
    found: dict[str, tuple[Candidate, Any]] = {"quantized_only": (plain, None)}
    trials = {trial.trial_id: trial for trial in tuner.oracle.get_best_trials(10**6)}
    left = {True: job.finalists, False: 1}  # by whether they share
    for trial_id in _ranking(job, tuner):
        trial = trials.get(trial_id)
        if trial is None:
            continue
        candidate = job.designer.candidate(trial.hyperparameters)
        if candidate != plain and left[candidate.is_shared]:
            left[candidate.is_shared] -= 1
            found[f"trial_{trial_id}"] = candidate, trial
    return found


def _ranking(job: Job, tuner: SharingSearch) -> list[str]:
    """The trials to make files of: under a budget the best, else the smallest good."""
    board = tuner.results.leaderboard(average=True)
    if not job.limits:
        score = job.sign * board[job.objective.name]
        # A little training tells it roughly: what is a little too bad may recover.
        kept = score >= score.max() - 2 * job.tolerance
        board = board.assign(_kept=~kept).sort_values(["_kept", "exported_bytes"])
    return board["trial_id"].tolist()


def _model(
    job: Job, tuner: SharingSearch, candidate: Candidate, trial: Any
) -> keras.Model:
    """The model of a candidate, with the weights of its trial if they are kept."""
    if trial is not None:
        with contextlib.suppress(FileNotFoundError):
            return tuner.load_model(trial)
    return job.designer.build(candidate)
