"""Messages of the Python API in the words of the shell."""

import re
from collections.abc import Iterable

import click


def in_shell_names(text: str, params: Iterable[click.Parameter]) -> str:
    """Names options as they are written in a shell where a text names arguments.

    Options are called in Python what the arguments are that they are passed to, so
    that this needs no table.

    Example:
    >>> option = click.Option(["--threads", "num_threads"])
    >>> in_shell_names("`num_threads` must be at least 1: num_threads=0", [option])
    '--threads must be at least 1: --threads=0'
    """
    for param in params:
        name = param.name
        # A name of one word is a word of the language, too.
        plain = rf"|\b{name}\b" if "_" in name else ""
        text = re.sub(rf"`{name}`|\b{name}(?==){plain}", _in_shell(param), text)
    return text


def _in_shell(param: click.Parameter) -> str:
    if isinstance(param, click.Argument):
        return param.human_readable_name
    return max(param.opts, key=len)
