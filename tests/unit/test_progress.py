"""Work is shared out over processes, its results keep their order, and its progress is told."""

import os
import signal
import time

import pytest

from study import progress
from study.errors import StudyError
from study.progress import CHUNK, in_parallel


@pytest.fixture(params=[True, False], ids=["processes", "alone"])
def pay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_processes_pay", lambda *_: request.param)


@pytest.mark.usefixtures("pay")
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, CHUNK, 3 * CHUNK + 1])
def test_results_keep_the_order_of_the_items(workers: int, count: int) -> None:
    assert list(in_parallel("Squaring", lambda number: number**2, range(count), workers)) == [
        n**2 for n in range(count)
    ]


def test_processes_are_started_for_work_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_ALONE", 0.1)

    def work(_: int) -> int:
        time.sleep(0.01)
        return os.getpid()

    found = list(in_parallel("Working", work, range(10 * CHUNK), 2))
    assert found[0] == os.getpid() and len(set(found[CHUNK:]) - {os.getpid()}) == 2
    assert set(in_parallel("Working", work, range(CHUNK), 2)) == {os.getpid()}


@pytest.mark.usefixtures("pay")
def test_the_exception_of_the_first_wrong_item_is_raised() -> None:
    def work(number: int) -> float:
        if number in (CHUNK + 1, 5 * CHUNK):
            raise ValueError(f"item {number}")
        return number

    with pytest.raises(ValueError, match=f"item {CHUNK + 1}"):
        list(in_parallel("Working", work, range(10 * CHUNK), 4))


def test_a_process_that_is_killed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_processes_pay", lambda *_: True)

    def work(number: int) -> int:
        if number == CHUNK:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does without memory
        return number

    with pytest.raises(StudyError, match=r"^Reading images: a process was killed after \d+ of 256 .* fewer .* than 2 "):
        list(in_parallel("Reading images", work, range(4 * CHUNK), 2))


def test_a_log_gets_a_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    list(in_parallel("Reading images", str, range(500), 2))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Reading images: 500 of 500, ")
