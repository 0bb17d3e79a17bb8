"""A progress bar on the terminal, or a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 64  # items per task of the pool: large enough that the pool costs nothing beside the decoding
SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for as long as the block lasts; call the value with the number of items just finished.

    `total` is None where it is not known.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        name = TextColumn("{task.description}", markup=False)
        with Progress(name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.advance(task, done)
    else:
        yield _lines(title, total)


def _lines(title: str, total: int | None) -> Callable[[int], None]:
    started = last = time.monotonic()
    finished = 0

    def advance(done: int) -> None:
        nonlocal finished, last
        finished += done
        now = time.monotonic()
        if finished == total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(f"{title}: {finished} of {total or 'unknown'}, {now - started:.1f} s", file=sys.stderr, flush=True)

    return advance


def in_parallel(title: str, work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """`work` of every item, in their order, over threads, with a progress bar; stops at the first exception.

    Threads, because Pillow, zlib and hashlib let go of the interpreter while they work, results need no copying, and
    processes could not be started from within a Snakemake script on every platform.
    """
    with ThreadPoolExecutor(workers) as pool, progress(title, len(items)) as advance:

        def work_on(start: int) -> list[Result]:
            return [work(item) for item in items[start : start + CHUNK]]

        results: list[Result] = []
        try:
            for part in pool.map(work_on, range(0, len(items), CHUNK)):
                results += part
                advance(len(part))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return results
