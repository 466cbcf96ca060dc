import pytest

from keras_share.flat.first_sentence import first_sentence


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("It is wrong. Do this instead.", "It is wrong."),
        ("Of version 2.0 and\nmore, a.b", "Of version 2.0 and more, a.b"),
        (
            "Exception encountered when calling Dense.call().\n\n"
            "\x1b[1mA shape is wrong\x1b[0m\n\nArguments received: x",
            "A shape is wrong",
        ),
        (
            "A class could not be made.\n\nconfig={'a': 1}.\n\n"
            "Exception encountered: There is no Own. Register it.",
            "There is no Own.",
        ),
        ("", "ValueError"),
    ],
)
def test_first_sentence(text, sentence):
    assert first_sentence(ValueError(text)) == sentence
