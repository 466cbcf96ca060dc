"""Errors of others in one sentence."""

import re


def first_sentence(error: BaseException) -> str:
    """What an error says first.

    Keras puts a line on the layer that was called before it, or a whole config, and
    what was passed behind it, with colors; TensorFlow goes on with advice.
    """
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    text = text.split("Exception encountered: ")[-1]
    text = re.sub(r"^Exception encountered when calling .*\(\)\.\s*", "", text)
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n", text)[0]
    return " ".join(sentence.split()) or type(error).__name__
