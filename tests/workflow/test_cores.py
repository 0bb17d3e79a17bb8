"""How trainings share a machine, as real Snakemake plans it."""

import re

import pytest
from conftest import Workspace


def asked_for(workspace: Workspace, rule: str, *arguments: str) -> set[tuple[int, int]]:
    """Threads and GPUs of the jobs of a rule that a run would start now."""
    plan = workspace.snakemake("--dry-run", *arguments).stdout
    jobs = re.findall(rf"^rule {rule}:\n(.*?)\n\n", plan, re.MULTILINE | re.DOTALL)
    assert jobs, plan
    threads = [re.search(r"threads: (\d+)", job) for job in jobs]
    gpus = [re.search(r"gpu=(\d+)", job) for job in jobs]
    return {(int(t[1]) if t else 1, int(g[1]) if g else 0) for t, g in zip(threads, gpus, strict=True)}


@pytest.mark.parametrize("rule", ["train", "evaluate"])
@pytest.mark.parametrize(("cores", "threads"), [("1", 1), ("2", 1), ("4", 2)])
def test_on_the_processor_trainings_share_the_cores(workspace: Workspace, rule: str, cores: str, threads: int) -> None:
    """The small study has two recipes; `--resources gpu=1`, given by all runs of the tests, holds none of them up."""
    workspace.configure(training={"device": "cpu"}, resources={"train_mem_mb": 100})
    assert asked_for(workspace, rule, "--cores", cores) == {(threads, 0)}


def test_a_training_that_may_need_the_memory_alone_has_all_cores(workspace: Workspace) -> None:
    workspace.configure(training={"device": "cpu"}, resources={"train_mem_mb": 10**9})
    assert asked_for(workspace, "train", "--cores", "4") == {(4, 0)}


def test_threads_may_be_given(workspace: Workspace) -> None:
    workspace.configure(training={"device": "cpu"})
    for threads in (1, 3):
        given = asked_for(workspace, "train", "--cores", "4", "--config", f"resources={{train_threads: {threads}}}")
        assert given == {(threads, 0)}


def test_on_a_gpu_each_counts_for_one(workspace: Workspace) -> None:
    workspace.configure(training={"device": "cuda"})
    assert asked_for(workspace, "train", "--cores", "16") == {(8, 1)}
    assert asked_for(workspace, "evaluate", "--cores", "16") == {(1, 1)}
