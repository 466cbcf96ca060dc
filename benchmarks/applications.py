"""What repeats in models of keras.applications, and what sharing it saves.

    python benchmarks/applications.py

With random weights: the numbers are counts, not accuracies.
"""

import keras
import pandas as pd

import keras_share as ks

MODELS = ("MobileNetV2", "EfficientNetB0", "ConvNeXtTiny")


def measure(name: str) -> dict[str, object]:
    """Finds and shares the repeated blocks of one model."""
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(96, 96, 3), include_top=False)
    sites = ks.find_sites(model).groupby("kind", sort=False)
    shared = ks.share(model, "shared")
    return {
        "model": name,
        "sites": ", ".join(str(n) for n in sites["site"].nunique()),
        "layers": ", ".join(str(n) for n in sites["position"].nunique()),
        "parameters": model.count_params(),
        "shared": shared.count_params(),
    }


def main() -> None:
    """Prints the table of the README."""
    table = pd.DataFrame(map(measure, MODELS))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
