"""A progress bar on the terminal, or a line now and then in a log."""

import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from study.errors import StudyError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 64  # items per task of the pool: large enough that the pool costs nothing beside the decoding
WAITING = 8  # tasks per process that are handed over before their results are taken
SECONDS_ALONE = 0.5  # of work, after which the rest is estimated
SECONDS_TO_START = 2.0  # processes have to save more: starting them and handing over results takes one to two
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


def in_parallel(
    title: str,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    total: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Result]:
    """`work` of every item, in their order, over processes, with a progress bar; stops at the first exception.

    Items are taken and results given one by one: only those of a few tasks are in memory at once, however many there
    are. Nothing is done before the first result is asked for.

    Processes are started once the first items show that they save time. Threads would not do: most of the work on a
    small image is Python's, and two threads are slower at it than one.

    Args:
        work: goes to every process once, so what it refers to has to be picklable.
        total: number of items; None where `items` has a length.
        chunk: items per task of the pool; 1 for items that each take long.

    Raises:
        StudyError: a process was killed, for lack of memory most likely.
    """
    if total is None:
        assert isinstance(items, Collection)
        total = len(items)
    left = iter(items)
    parts = iter(lambda: list(islice(left, chunk)), [])
    finished = 0
    with progress(title, total) as advance:
        started = time.monotonic()
        while finished < total and not _processes_pay(time.monotonic() - started, finished, total, workers):
            part = [work(item) for item in next(parts)]
            finished += len(part)
            advance(len(part))
            yield from part
        if finished < total:
            from loky import BrokenProcessPool, ProcessPoolExecutor

            processes = min(workers, -(-(total - finished) // chunk))
            pool = ProcessPoolExecutor(processes, initializer=_take, initargs=(work,))
            try:
                waiting = deque(pool.submit(_work_on, part) for part in islice(parts, WAITING * processes))
                while waiting:
                    part = waiting.popleft().result()
                    waiting += [pool.submit(_work_on, part) for part in islice(parts, 1)]
                    finished += len(part)
                    advance(len(part))
                    yield from part
            except BrokenProcessPool:
                raise StudyError(
                    f"{title}: a process was killed after {finished:,} of {total:,} were done, most likely because the "
                    f"machine or the job ran out of memory; use fewer processes than {workers} (config key "
                    "resources.workers) or give the job more memory, and run the same command again"
                ) from None
            finally:
                pool.shutdown(wait=True, kill_workers=True)  # nothing is left to do, or nothing is to be done any more


def _processes_pay(seconds: float, done: int, total: int, workers: int) -> bool:
    if seconds < SECONDS_ALONE or not done:
        return False
    return seconds / done * (total - done) * (1 - 1 / workers) > SECONDS_TO_START


class _Process:
    """What a process of the pool works with."""

    work: Callable[[Any], Any]


def _take(work: Callable[[Any], Any]) -> None:
    _Process.work = staticmethod(work)


def _work_on(items: Sequence[Any]) -> list[Any]:
    return [_Process.work(item) for item in items]
