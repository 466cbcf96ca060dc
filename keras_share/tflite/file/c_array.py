"""`export_c_array`: a file as a C array, to be compiled into firmware."""

import os
import re
from pathlib import Path

from keras_share.atomic import check_writable, write_atomically
from keras_share.tflite.file.flatbuffer import ALIGNMENT, contents, read

_PER_LINE = 12
_KEYWORDS = (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class "
    "compl concept const consteval constexpr constinit continue decltype default "
    "delete do double else enum explicit export extern false float for friend goto if "
    "inline int long mutable namespace new noexcept not not_eq nullptr operator or "
    "or_eq private protected public register requires restrict return short signed "
    "sizeof static struct switch template this throw true try typedef typeid typename "
    "union unsigned using virtual void volatile while xor xor_eq main size_t"
)

_HEADER = """\
{comment}
#ifndef {guard}
#define {guard}

extern const unsigned char {name}[];
extern const unsigned int {name}_len;

#endif  // {guard}
"""
_SOURCE = """\
{comment}
#include "{header}"

// The interpreter reads the constants in place and wants them aligned.
alignas({alignment}) const unsigned char {name}[] = {{
{lines}
}};
const unsigned int {name}_len = {length};
"""


def export_c_array(
    source: str | os.PathLike | bytes,
    output: str | os.PathLike,
    *,
    name: str | None = None,
    arena_bytes: int | None = None,
) -> tuple[Path, Path]:
    """Writes a `.tflite` file as a C++ source and its header.

    They define the array `name`, aligned to 16 bytes, and its length `name_len`:
    `tflite::GetModel(name)` is all that the firmware needs, and the array stays in
    flash.

    Args:
        source: Path of the `.tflite` file, or its bytes.
        output: Where to write the source, which must end in `.cc` or `.cpp`. The header
            lies beside it, with the ending `.h`.
        name: Name of the array. Defaults to the name of `output`.
        arena_bytes: Size of the tensor arena, from `run_micro`, for the comment.

    Returns:
        The paths of the source and of the header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `source` is not a .tflite model, `output` has another ending or
            signs that C has no place for, or `name` is not a C identifier.
        OSError: If the folder doesn't exist or can't be written.

    Example:
    >>> import keras, keras_share
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> files = keras_share.tflite.export_c_array(
    ...     "model.tflite", "model.cc", name="g_model"
    ... )
    >>> "extern const unsigned char g_model[];" in files[1].read_text()
    True
    """
    path = Path(output)
    name = path.stem if name is None else name
    if path.suffix not in (".cc", ".cpp"):
        raise ValueError(
            "`output` must be that of a C++ source and end in .cc or .cpp. "
            f"Received: output={str(path)!r}"
        )
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"(?!_[A-Z_])[A-Za-z_][A-Za-z0-9_]*", name)
        or name in _KEYWORDS.split()
    ):
        raise ValueError(
            "`name` must be a C identifier: letters, digits and underscores, no digit "
            "first, none that C reserves, such as _Bool, and no keyword. Received: "
            f"name={name!r}. By default it is the name of `output`."
        )
    if not re.fullmatch(r"[\w .+-]+", path.name):
        raise ValueError(
            "The name of `output` must be of letters, digits, spaces and .+-_, as a "
            f"line of the source includes the header. Received: output={str(path)!r}"
        )
    if not isinstance(arena_bytes, int | None):
        raise ValueError(
            "`arena_bytes` must be an integer, as `run_micro` measures. Received: "
            f"arena_bytes={arena_bytes!r}"
        )
    read(source)
    data = contents(source)
    header = path.with_suffix(".h")
    targets = check_writable(path), check_writable(header)

    facts = [f"{len(data):,} bytes"]
    if arena_bytes is not None:
        facts.append(f"tensor arena of {arena_bytes:,} bytes")
    if isinstance(source, str | os.PathLike):
        # A line of a comment: no end of the line, and none that a backslash joins.
        facts.insert(0, re.sub(r"[^\w .+-]", "?", Path(source).name))
    fields = {
        "comment": "// " + ", ".join(facts) + ".",
        "guard": f"{name.upper()}_H_",
        "name": name,
        "header": header.name,
        "alignment": ALIGNMENT,
        "lines": _lines(data),
        "length": len(data),
    }
    for target, template in zip(targets, (_SOURCE, _HEADER), strict=True):
        write_atomically(target, template.format(**fields))
    return path, header


def _lines(data: bytes) -> str:
    rows = (data[i : i + _PER_LINE] for i in range(0, len(data), _PER_LINE))
    return "\n".join("    " + "".join(f"0x{b:02x}," for b in row) for row in rows)
