"""What is said of the files of a compression."""

from pathlib import Path

from keras_share.search.compression.files import Finalist
from keras_share.search.compression.outcome import Compression
from keras_share.search.compression.scores import Interval


def test_what_a_file_does_not_have_is_a_dash():
    score = Interval(0.5, 0.25, 0.75)
    costs = {"exported_bytes": 6592, "latency_ms": 0.5}
    small = {"exported_bytes": 4688, "latency_ms": 0.25, "arena_bytes": 3584}
    files = [
        Finalist(name, Path("a.tflite"), None, [], score, found)
        for name, found in (("original", costs), ("AAB, int8", small))
    ]
    said = "reason", "verdict", True, None, "accuracy", "9 test samples"
    found = Compression(Path(), files[1], files, *said)
    assert str(found).splitlines()[6:10] == [
        "| file | accuracy | bytes | latency, ms | arena, bytes |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| original | 0.5000 [0.2500, 0.7500] | 6,592 | 0.5 | - |",
        "| AAB, int8 (winner) | 0.5000 [0.2500, 0.7500] | 4,688 | 0.25 | 3,584 |",
    ]
