"""Speech recognition on a stream: spoken digits in a row, by speakers never heard.

Trains small causal networks with CTC on sentences that are made on the fly of single
recordings, with random gaps and noise: one that shares nothing, one whose blocks are
tied by a pattern, and one of which each site has a small matrix of its own beside the
tied ones, in files of about the same size. Each becomes a full int8 file that keeps its
states and takes two frames of the front end, 32 ms, at a time, as in firmware
(`examples/firmware/recognize.cc`). Counts wrong words, of which the speakers were never
trained on.

    python examples/speech_recognition.py                      spoken digits, a download
    python examples/speech_recognition.py --data FOLDER        of word/*.wav, or .npz
    python examples/speech_recognition.py --quick              tones, half a minute
"""

import argparse
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import jiwer
import keras
import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers, ops
from keyword_parts.augmentation import Augmentation
from keyword_parts.datasets import load_data
from keyword_parts.frontend import with_all_levels
from keyword_parts.sequences import Sequences

import keras_share as ks

STEP = 2  # frames that come in at a time
BEAMS = 16
BLANK = 0
KERNEL_SIZE = 9
MOMENTUM = 0.95
AUGMENTATION = Augmentation(
    speed=0.25, noise=300.0, mask_frames=8, mask_mels=4, shift_mels=1
)


@dataclass(frozen=True)
class Network:
    """How one of the networks spends its bytes.

    Args:
        pattern: Which blocks share.
        width: Channels.
        rank: Of the matrices that each site has for itself; 0 for none.
    """

    pattern: str
    width: int
    rank: int = 0


# Files of 35 to 36 KB: what a site keeps for itself takes bytes, too.
NETWORKS = {
    "unshared": Network("ABC", 62),
    "tied": Network("AAABBB", 48),
    "relaxed": Network("AAAAAA", 36, rank=4),
}


@dataclass(frozen=True)
class Settings:
    """What a run depends on beside its recordings.

    Args:
        batches: Batches that are trained on.
        batch_size: Sentences of each.
        test: Sentences of the test.
        most: Most words of a sentence.
        learning_rate: The highest.
        seed: Of the split, the weights and the sentences.
    """

    batches: int = 800
    batch_size: int = 24
    test: int = 200
    most: int = 4
    learning_rate: float = 0.006
    seed: int = 0


def build(network: Network, bands: int, num_words: int) -> keras.Model:
    """A causal network over any number of frames: logits of blank and words.

    Args:
        network: How its blocks share, and how wide they are.
        bands: Numbers of each frame.
        num_words: Number of words.
    """
    inputs = keras.Input((None, bands), name="features")
    x = layers.ZeroPadding1D((4, 0))(inputs)
    x = layers.Conv1D(network.width, 5, strides=STEP, use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name="stem_normalization")(x)
    x = layers.ReLU(name="stem_activation")(x)
    x = ks.SharedStack(
        ks.blocks.SeparableConvBlock(
            KERNEL_SIZE, rank=1, padding="causal", dropout=0.05, momentum=MOMENTUM
        ),
        network.pattern,
        private=("depthwise", "normalization"),
        relax=ks.LowRank(network.rank) if network.rank else None,
        name="stack",
    )(x)
    return keras.Model(inputs, layers.Dense(num_words + 1, name="scores")(x))


def train(model: keras.Model, sentences: Sequences, settings: Settings) -> None:
    """Trains with CTC, which finds out by itself when which word is said."""
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        settings.batches * 9 // 10,
        warmup_target=settings.learning_rate,
        warmup_steps=settings.batches // 10 or 1,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0)
    model.compile(optimizer, keras.losses.CTC(), jit_compile=False)
    model.fit(sentences, verbose=0)


def decode(logits: np.ndarray, strategy: str) -> np.ndarray:
    """The words of logits `(n, frames, words + 1)`, from 1 on, padded by -1.

    Args:
        logits: What a network gives.
        strategy: `"greedy"`, as firmware can do it, or `"beam_search"`.
    """
    lengths = np.full(len(logits), logits.shape[1], "int32")
    beams = {"beam_width": BEAMS} if strategy == "beam_search" else {}
    paths, _ = ops.ctc_decode(logits, lengths, strategy, mask_index=BLANK, **beams)
    return ops.convert_to_numpy(paths[0])


def export(model: keras.Model, samples: np.ndarray, path: Path) -> ks.tflite.Audit:
    """Writes the int8 file of one step, that keeps its states, and as a C array."""
    frames = samples.shape[1:]
    whole = keras.Sequential([keras.Input(frames, name="features"), *model.layers[1:]])
    quantized = ks.quantize_model(whole, with_all_levels(samples), ranges="group")
    report = ks.export_tflite(
        ks.streaming(quantized, step=STEP),
        path,
        target="micro",
        state="internal",
        inference_input_type="int8",
        inference_output_type="int8",
    )
    arena = report.metadata.get("arena_bytes")
    source = path.with_suffix(".cc")
    ks.tflite.export_c_array(path, source, name="g_model", arena_bytes=arena)
    return report


def listen(path: Path, features: np.ndarray) -> np.ndarray:
    """Logits of a file for features `(n, frames, bands)`, step by step."""
    rows = []
    for sequence in features:
        # With states that are zero, and the kernels that microcontrollers have.
        interpreter = Interpreter(
            str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        interpreter.allocate_tensors()
        [taken], [given] = (
            interpreter.get_input_details(),
            interpreter.get_output_details(),
        )
        (scale, zero), (out_scale, out_zero) = (
            d["quantization"] for d in (taken, given)
        )
        integers = np.rint(sequence / scale + zero).astype("int8")
        row = []
        for first in range(0, len(sequence) - STEP + 1, STEP):
            interpreter.set_tensor(taken["index"], integers[None, first : first + STEP])
            interpreter.invoke()
            row.append(interpreter.get_tensor(given["index"])[0].astype("float32"))
        rows.append((np.concatenate(row) - out_zero) * out_scale)
    return np.stack(rows)


def run(
    folder: Path, source: str = "spoken-digits", settings: Settings = Settings()
) -> pd.DataFrame:
    """Trains, exports and compares the networks; returns the table."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    data = load_data(source, seed=settings.seed)
    print(f"Sentences of {', '.join(data.split.train.words)}; split {data.remark}")
    sizes = {"seconds": float(settings.most), "most": settings.most}
    sentences = Sequences(
        data.split.train,
        settings.batch_size,
        settings.batches,
        augmentation=AUGMENTATION,
        seed=settings.seed,
        **sizes,
    )
    test = Sequences(data.split.test, settings.test, 1, seed=settings.seed + 1, **sizes)
    features, labels = test[0]
    said = test.sentences(labels)
    samples = Sequences(data.split.train, 32, 1, seed=settings.seed + 2, **sizes)[0][0]
    rows = []
    for name, network in NETWORKS.items():
        keras.utils.set_random_seed(settings.seed)
        model = build(network, features.shape[2], len(data.split.train.words))
        start = time.process_time()
        train(model, sentences, settings)
        seconds = time.process_time() - start
        path = folder / f"{name}.tflite"
        report = export(model, samples, path)
        logits = model.predict(features, batch_size=50, verbose=0)
        errors = {
            f"{kind}_{how}": jiwer.wer(said, test.sentences(decode(x, strategy)))
            for kind, x in (("float", logits), ("int8", listen(path, features)))
            for how, strategy in (("greedy", "greedy"), ("beam", "beam_search"))
        }
        rows.append(
            {
                "network": name,
                "pattern": network.pattern,
                "width": network.width,
                "parameters": model.count_params(),
                "file_bytes": report.file_bytes,
                "macs_per_step": report.macs,
                **errors,
                "cpu_seconds": round(seconds),
            }
        )
        print(rows[-1])
    table = pd.DataFrame(rows)
    table.to_csv(folder / "results.csv", index=False)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    return table


QUICK = Settings(batches=40, batch_size=8, test=20, most=2, learning_rate=0.01)


def main() -> None:
    """Reads the command line and runs."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = options.add_argument
    add("--data", help="spoken-digits, speech-commands, a folder or an .npz")
    add("--output", type=Path, default=Path("recognition_results"))
    add("--batches", type=int, help="that are trained on")
    add("--seed", type=int, default=0, help="also draws the speakers")
    add("--quick", action="store_true", help="little training, of tones by default")
    given = options.parse_args()
    settings = replace(QUICK if given.quick else Settings(), seed=given.seed)
    if given.batches:
        settings = replace(settings, batches=given.batches)
    source = given.data or ("tones" if given.quick else "spoken-digits")
    run(given.output, source, settings)


if __name__ == "__main__":
    main()
