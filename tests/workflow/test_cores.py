"""How trainings share a machine, as real Snakemake plans it."""

import re

import pytest
from conftest import Workspace


def asked_for(workspace: Workspace, *arguments: str) -> dict[str, set[tuple[int, int]]]:
    """Threads and GPUs of the trainings and evaluations that a run would start now."""
    plan = workspace.snakemake("--dry-run", *arguments).stdout
    found: dict[str, set[tuple[int, int]]] = {"train": set(), "evaluate": set()}
    for rule, job in re.findall(r"^rule (train|evaluate):\n(.*?)(?=\n\[|\n\n)", plan, re.MULTILINE | re.DOTALL):
        threads, gpus = re.search(r"threads: (\d+)", job), re.search(r"gpu=(\d+)", job)
        assert gpus, plan
        found[rule].add((int(threads[1]) if threads else 1, int(gpus[1])))
    return found


def both(threads: int) -> dict[str, set[tuple[int, int]]]:
    return {rule: {(threads, 0)} for rule in ("train", "evaluate")}


@pytest.mark.parametrize(("cores", "threads"), [("1", 1), ("2", 1), ("4", 2)])
def test_on_the_processor_trainings_share_the_cores(workspace: Workspace, cores: str, threads: int) -> None:
    """The small study has two recipes; `--resources gpu=1`, given by all runs of the tests, holds none of them up."""
    workspace.configure(training={"device": "cpu"}, resources={"train_mem_mb": 100})
    assert asked_for(workspace, "--cores", cores) == both(threads)


def test_a_training_that_may_need_the_memory_alone_has_all_cores(workspace: Workspace) -> None:
    workspace.configure(training={"device": "cpu"}, resources={"train_mem_mb": 10**9})
    assert asked_for(workspace, "--cores", "4") == both(4)


def test_threads_may_be_given(workspace: Workspace) -> None:
    workspace.configure(training={"device": "cpu"})
    assert asked_for(workspace, "--cores", "4", "--config", "resources={train_threads: 3}") == both(3)


def test_on_a_gpu_each_counts_for_one(workspace: Workspace) -> None:
    workspace.configure(training={"device": "cuda"})
    assert asked_for(workspace, "--cores", "16") == {"train": {(8, 1)}, "evaluate": {(1, 1)}}


def test_idle_threads_of_a_job_sleep(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen in a job beside the study's; the variable is for the jobs, which inherit it."""
    (workspace.root / "Show").write_text(
        "include: 'Snakefile'\nrule show:\n  output: '{name}.txt'\n  shell: 'echo $OMP_WAIT_POLICY > {output}'\n"
    )
    for given, name in ((None, "ours"), ("active", "theirs")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        workspace.snakemake("--snakefile", "Show", f"{name}.txt")
    told = [(workspace.root / f"{name}.txt").read_text().strip() for name in ("ours", "theirs")]
    assert told == ["passive", "active"]
