"""Where a study is kept: a file in the project's folder, or a server."""

import os
import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy

STUDY = "study.db"
# A storage for all processes that are started with it, which no command line shows.
VARIABLE = "KERAS_SHARE_STORAGE"

# Seconds between two signs of life of a trial, and without one until it is given to
# others.
BEAT, LOST = 10, 120
EXPERIMENTAL = optuna.exceptions.ExperimentalWarning
_PATIENCE = 300.0  # seconds without the server before a search ends
AWAY = (
    optuna.exceptions.StorageInternalError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    ConnectionError,
)
_MADE_TWICE = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError)
_TRIES = 5
_Result = TypeVar("_Result")


def connect(
    project_dir: str | os.PathLike, storage: Any, must_exist: bool = False
) -> Any:
    """The storage of a study.

    That is None for an SQLite file in the project's folder, or what
    `KERAS_SHARE_STORAGE` names; the URL of a database; or a storage of Optuna's.

    Raises:
        ConnectionError: If a server doesn't answer, or lets nobody in.
        ValueError: If it is none of these, its driver is not installed, or another
            version of Optuna wrote it.
        OSError: If the file can't be made, or must exist and doesn't.
    """
    storage = storage or os.environ.get(VARIABLE) or None
    if isinstance(storage, optuna.storages.BaseStorage):
        return storage
    if storage is None:
        if must_exist and not Path(project_dir, STUDY).is_file():
            raise FileNotFoundError(
                "`project_dir` must be the folder of a search (the tuner's `directory` "
                "joined with its `project_name`). Received: "
                f"{os.fspath(project_dir)!r} without {STUDY}. A search on a server "
                "needs its `storage`, too."
            )
        return _file(Path(project_dir))
    if not isinstance(storage, str):
        raise ValueError(
            "`storage` must be None for a file in the project's folder, the URL of a "
            "database, or a storage of optuna.storages. Received: an object of type "
            f"{type(storage).__name__}"
        )
    return _opened(storage, pool_pre_ping=True)


def shown(storage: Any) -> str:
    """A storage for people: a URL without its password and its options."""
    if not isinstance(storage, str):
        return type(storage).__name__
    try:
        url = sqlalchemy.make_url(storage)
    except sqlalchemy.exc.ArgumentError:
        return "a text that is no URL"
    masked = url.set(query={}).render_as_string(hide_password=True)
    return masked + ("?..." if url.query else "")


def patiently(method: Callable[..., _Result], *args: Any) -> _Result:
    """Calls a method of a storage, again while its server is away.

    Raises:
        ConnectionError: If it stays away for five minutes.
        OSError: If the file of a study can't be written.
    """
    end, pause = time.monotonic() + _PATIENCE, 0.1
    while True:
        try:
            return method(*args)
        except AWAY as error:
            reason = _reason(error)
            if isinstance(_root(error), sqlite3.Error) and "locked" not in reason:
                raise OSError(
                    "The file of a study must be readable and writable, in a folder "
                    f"that is writable and has room. Received: {reason}. What ended "
                    "before is kept: mend it and start the search again."
                ) from error
            if time.monotonic() > end:
                raise ConnectionError(
                    f"The storage of a search must answer. It did not for "
                    f"{_PATIENCE:.0f} seconds: {reason}. Start the search again when "
                    "it does; what ended before is kept."
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _file(folder: Path) -> Any:
    path = folder / STUDY
    if os.access(folder, os.W_OK):

        def open_file() -> sqlite3.Connection:
            connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
            # Readers don't wait for writers then. A killed process loses nothing, a
            # power cut maybe the last seconds.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            return connection

        return _opened(f"sqlite:///{path}", creator=open_file)
    return _opened(f"sqlite:///file:{path}?immutable=1&uri=true")


def _opened(url: str, **arguments: Any) -> Any:
    try:
        for attempt in range(_TRIES):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", category=EXPERIMENTAL)
                    return optuna.storages.RDBStorage(
                        url,
                        engine_kwargs=arguments,
                        heartbeat_interval=BEAT,
                        grace_period=LOST,
                    )
            except _MADE_TWICE:  # two make the tables at once
                if attempt + 1 == _TRIES:
                    raise
            time.sleep(0.5)
    except ImportError as error:
        raise ValueError(
            "The driver of a database must be installed, such as psycopg[binary] for "
            f"postgresql://. Received: storage={shown(url)!r} ({error.__cause__})"
        ) from None
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(
            "`storage` must be a URL such as postgresql://user:password@host/database. "
            f"Received: {shown(url)}"
        ) from None
    except RuntimeError as error:  # of Optuna, for the tables of another version
        raise ValueError(
            "The tables of a storage must be those of the Optuna that is installed "
            f"({optuna.__version__}). Received: storage={shown(url)!r}: {error}"
        ) from None
    except (*AWAY, sqlalchemy.exc.SQLAlchemyError) as error:
        kind = OSError if isinstance(_root(error), sqlite3.Error) else ConnectionError
        raise kind(
            "The storage of a search must answer and let this user in. Received: "
            f"storage={shown(url)!r}: {_without(url, _reason(error))}"
        ) from None


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return getattr(error, "orig", None) or error


def _reason(error: BaseException) -> str:
    lines = str(_root(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _without(url: str, text: str) -> str:
    """The text without what of the URL is secret."""
    found = sqlalchemy.make_url(url)
    for secret in (found.password, *found.query.values()):
        text = text.replace(str(secret), "***") if secret else text
    return text
