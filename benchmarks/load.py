"""Time trainings on the processor by how they share its cores, on a quiet machine and beside a busy process.

    python -m benchmarks.load --data results/fer2013/data --width 0.25 --name load
    python -m benchmarks.record                            # RESULTS.md from benchmarks/results/*.json

Every way of sharing has processes of its own; the rounds of all ways are interleaved, quiet and beside the busy one.
"""

import argparse
import multiprocessing
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import ROOT, contenders
from benchmarks.contenders import Task, available_cores
from benchmarks.record import origin, write_record
from benchmarks.speed import Runner
from study.errors import StudyError
from study.provenance import processor


@dataclass(frozen=True)
class Sharing:
    """Trainings at the same time, and what each of them is told.

    Attributes:
        processes: trainings at once.
        threads: of each.
        environment: variables that each starts with.
    """

    processes: int
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)


def ways(cores: int) -> list[Sharing]:
    """All cores in one training, however its threads wait; one thread in as many trainings; one thread alone."""
    together = [
        Sharing(1, cores, environment)
        for environment in (
            {},
            {"OMP_WAIT_POLICY": "passive"},
            {"OMP_WAIT_POLICY": "active"},
            {"GOMP_SPINCOUNT": "1000"},
            {"GOMP_SPINCOUNT": "10000"},
            {"OMP_PROC_BIND": "true"},
        )
    ]
    return [*together, Sharing(1, 1), Sharing(cores, 1)]


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy() -> Iterator[None]:
    """A process that computes all the time, as somebody else's would."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


@contextmanager
def variables(environment: Mapping[str, str]) -> Iterator[None]:
    """These variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def together(runners: Sequence[Runner], steps: int, batch_size: int) -> float:
    """Images per second of several trainings at once."""
    began, ended = zip(
        *(span.result() for span in [r.pool.submit(contenders.run, steps) for r in runners]), strict=True
    )
    return len(runners) * steps * batch_size / (max(ended) - min(began))


def measure(task: Task, sharings: Sequence[Sharing], steps: int, rounds: int) -> list[dict[str, Any]]:
    """Images per second of each way in each round, `quiet` and `beside` a busy process."""
    rows: list[dict[str, Any]] = [{**asdict(sharing), "quiet": [], "beside": []} for sharing in sharings]
    everyone = []
    for sharing in sharings:
        with variables(sharing.environment):
            shared = Task(**{**vars(task), "threads": sharing.threads})
            everyone.append([Runner("ours", shared) for _ in range(sharing.processes)])
    for number in range(rounds):
        for row, runners in zip(rows, everyone, strict=True):
            row["quiet"].append(together(runners, steps, task.batch_size))
            with busy():
                row["beside"].append(together(runners, steps, task.batch_size))
            told = f"{row['processes']} × {row['threads']} {row['environment'] or ''}"
            rates = f"{row['quiet'][-1]:8,.1f} quiet {row['beside'][-1]:8,.1f} beside"
            print(f"round {number + 1}/{rounds}  {told:<45} {rates}", flush=True)
    for runners in everyone:
        for runner in runners:
            runner.close()
    return rows


def main(text: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of packed images, results/<study>/data; random images without it")
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    parser.add_argument("--width", type=float, default=0.25, help="of the network; 1 is the published VGG19")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="timed in a round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(text)
    cores = available_cores()
    if cores < 2:
        raise StudyError("one core: there is nothing to share")
    images = given.batch_size * (1 + given.steps)
    task = Task(given.data, "", "cpu", given.width, given.batch_size, images, 1, 0, None)
    rows = measure(task, ways(cores), given.steps, given.rounds)
    if given.name:
        record = {
            "kind": "load",
            "name": given.name,
            "device": processor(),
            "cuda": False,
            "width": given.width,
            "batch_size": given.batch_size,
            "steps": given.steps,
            "rounds": given.rounds,
            "images": "random" if given.data is None else "the first training images of the packed data",
            "command": shlex.join(["python", "-m", "benchmarks.load", *text]),
            **origin(),
            "rows": rows,
        }
        write_record(given.name, record)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))  # for the processes of the trainings
    try:
        main(sys.argv[1:])
    except StudyError as error:
        sys.exit(f"Error: {error}")
