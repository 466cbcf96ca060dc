"""What every command has in common: output, `--json`, `--debug` and exit codes."""

import contextlib
import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from keras_share.version import __version__

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


@dataclass(frozen=True)
class Outcome:
    """What a command has to say; commands return it and print nothing.

    Attributes:
        text: For people.
        facts: The same for programs, as what JSON can hold.
        broken: The promise that was asked for and is not kept, or None.
    """

    text: str
    facts: Any
    broken: str | None = None


class NotKept(click.ClickException):
    """The work is done, and a promise is not kept."""

    exit_code = 3


class Bug(click.ClickException):
    """The fault is ours."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h


class Command(click.Command):
    """A command that prints its `Outcome` and turns exceptions into exit codes."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["--json", "as_json"],
                is_flag=True,
                help="Print one JSON document instead of text.",
            ),
            click.Option(
                ["--debug"], is_flag=True, help="Print the traceback of an error."
            ),
        ]

    def invoke(self, ctx: click.Context) -> None:
        as_json, debug = ctx.params.pop("as_json"), ctx.params.pop("debug")
        try:
            with _chatter_on_stderr():
                outcome = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if debug:
                traceback.print_exc()
            raise _explained(error, self._in_shell(str(error))) from error
        if as_json:
            click.echo(_json(outcome.facts))
        else:
            click.echo(self._in_shell(outcome.text))
        if outcome.broken is not None:
            raise NotKept(self._in_shell(outcome.broken))

    def _in_shell(self, text: str) -> str:
        """A text of the Python API in the words of the shell.

        It names an argument in backticks, or first of what it received; options are
        called in Python what the arguments are that they are passed to. What else
        looks like one, such as a part of a path, is none.
        """
        names = {
            param.name: param.human_readable_name
            if isinstance(param, click.Argument)
            else max(param.opts, key=len)
            for param in self.params
        }
        said = r"`(\w+)`|(?<=Received: )(\w+)(?==)"
        return _printable(
            re.sub(said, lambda found: names.get(found[1] or found[2], found[0]), text)
        )


@contextlib.contextmanager
def _chatter_on_stderr() -> Iterator[None]:
    """Sends to stderr what libraries print, in Python or below it."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _show_warning(message: Warning | str, *place: Any, **kwargs: Any) -> None:
    click.echo(_printable(f"Warning: {message}"), err=True)


def _explained(error: Exception, said: str) -> click.ClickException:
    if isinstance(error, ValueError | OSError):
        return click.ClickException(said)
    return Bug(
        f"This is a bug of keras-share {__version__}: {type(error).__name__}: {said}\n"
        "Please report it with the command, the file, and what the same command "
        "prints with --debug."
    )


def _json(facts: Any) -> str:
    """One document, in which what JSON has no number for is null."""
    finite = json.loads(json.dumps(facts), parse_constant=lambda name: None)
    return json.dumps(finite, indent=2)


def _printable(text: str) -> str:
    """Takes out what could control a terminal: names in a file may hold anything."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
