"""A bar for long work, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """Shows on stderr that work goes on, if that is a terminal.

    Args:
        description: What is being done.

    Yields:
        A function that takes the number of steps done, the number of all, and a note.
        Work that can't tell need not call it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bars.add_task(description, total=None, note="")

    def update(done: int, total: int, note: str) -> None:
        bars.update(task, completed=done, total=total, note=note)

    with bars:
        yield update
