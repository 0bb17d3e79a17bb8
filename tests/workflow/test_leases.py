"""GPU leases under real Snakemake: jobs never meet on a device, whatever `--resources` says.

The only thing that is not real is the number of GPUs: each job's `devices.visible_gpus`, which asks PyTorch, answers
for a machine with three, narrowed by CUDA_VISIBLE_DEVICES as the driver does.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

SNAKEFILE = """
rule all:
    input:
        expand("done/{job}", job=range(4)),

rule train:
    output:
        "done/{job}",
    log:
        "logs/{job}.log",
    resources:
        gpu=1,
    script:
        "job.py"
"""

JOB = """
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, "SCRIPTS")
from study.train import devices
from study.rule_log import logged

GPUS = ["GPU-a", "GPU-b", "GPU-c"]
visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1,2")
devices.visible_gpus = lambda: [GPUS[int(index)] for index in visible.split(",")]

with logged(snakemake.log[0]) as say:
    with devices.leased("cuda", 1, say) as device:
        name = devices.visible_gpus()[device.index]
        with open("held.txt", "a") as held:
            held.write(f"{time.monotonic():.6f} {os.getpid()} begin {name}\\n")
        time.sleep(1)
        while Path("hold").exists():
            time.sleep(0.02)
        with open("held.txt", "a") as held:
            held.write(f"{time.monotonic():.6f} {os.getpid()} end {name}\\n")
    Path(snakemake.output[0]).touch()
"""


@dataclass(frozen=True)
class Event:
    """A job took (`begin`) or gave back (`end`) a GPU."""

    time: float
    process: int
    what: str
    gpu: str


class Machine:
    """A folder with the jobs above, and leases of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "job.py").write_text(JOB.replace("SCRIPTS", str(ROOT / "scripts")))
        (folder / "tmp").mkdir()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        variables = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "4", *arguments],
            cwd=self.folder, env={**variables, "TMPDIR": str(self.folder / "tmp"), **environment},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def events(self) -> list[Event]:
        path = self.folder / "held.txt"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return sorted((Event(float(t), int(p), what, gpu) for t, p, what, gpu in rows), key=lambda event: event.time)

    def waited(self) -> int:
        """Jobs that said that they wait for a GPU."""
        return sum("taken by other jobs" in log.read_text() for log in self.folder.glob("logs/*"))


def most_at_once(events: list[Event], killed: int | None = None) -> int:
    """Most jobs that held a GPU at one time; fails if two held the same one."""
    held: dict[str, int] = {}
    most = 0
    for event in events:
        if event.what == "begin":
            assert held.get(event.gpu) in (None, killed), f"{event.gpu} is held twice"
            held[event.gpu] = event.process
        else:
            del held[event.gpu]
        most = max(most, len(held))
    return most


def wait_until(reached: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_n_jobs_take_n_different_gpus(machine: Machine) -> None:
    output, _ = (run := machine.start("--resources", "gpu=2")).communicate(timeout=120)
    assert run.returncode == 0, output
    assert len(machine.events()) == 8 and most_at_once(machine.events()) <= 2
    assert machine.waited() == 0


def test_without_resources_jobs_wait_and_a_killed_one_frees_its_gpu(machine: Machine) -> None:
    """Three jobs hold the three GPUs until they are let go; the fourth gets the GPU of the one that is killed."""
    hold = machine.folder / "hold"
    hold.touch()
    run = machine.start("--retries", "1")
    try:
        wait_until(lambda: len(machine.events()) == 3 and machine.waited() == 1, run)
        killed = machine.events()[-1]
        os.kill(killed.process, signal.SIGKILL)
        wait_until(lambda: len(machine.events()) == 4, run)
        assert machine.events()[-1].gpu == killed.gpu
        hold.unlink()
        output, _ = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == 0, output
    assert most_at_once(machine.events(), killed.process) == 3
    said = "".join(log.read_text() for log in (machine.folder / "logs").iterdir())
    assert "all 3 GPUs are taken by other jobs (1 at a time on each); waiting until one ends" in said


def test_the_gpus_that_a_scheduler_gave_are_the_only_ones_used(machine: Machine) -> None:
    output, _ = (run := machine.start(CUDA_VISIBLE_DEVICES="1,2")).communicate(timeout=120)
    assert run.returncode == 0, output
    assert {event.gpu for event in machine.events()} == {"GPU-b", "GPU-c"}
    assert most_at_once(machine.events()) <= 2
