"""Runs are found by name, the best one on validation, and what their files say of them is enough to use them."""

from pathlib import Path

import pytest
import torch
from finished_run import finish

from study.commands.trained_run import Classifier, find_run
from study.errors import StudyError
from study.files import read_json
from study.paths import RunPaths


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "small"
    finish(folder, "long", 0, 10)
    finish(folder, "short", 0, 1)
    finish(folder, "short", 1, 1)
    return folder


def test_runs_are_found_by_name_and_best_on_validation(results: Path) -> None:
    def accuracy(run: RunPaths) -> float:
        return float(read_json(run.metrics)["val"]["accuracy"])

    long, *short = RunPaths(results, "long", 0), RunPaths(results, "short", 0), RunPaths(results, "short", 1)
    assert find_run(results, "long") == long
    assert find_run(results, "short/seed_1") == short[1]
    assert find_run(results, "short") == max(short, key=accuracy)
    assert accuracy(long) > max(map(accuracy, short))
    assert find_run(results, "best") == long


def test_unknown_runs_and_studies_are_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"run 'lang': not found in .*; allowed: best, long, short"):
        find_run(results, "lang")
    with pytest.raises(StudyError, match="no finished run; train first"):
        find_run(tmp_path, "best")


def test_a_run_that_is_not_evaluated_yet_cannot_be_the_best(results: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        run = RunPaths(tmp_path, "short", seed)
        run.trained.mkdir(parents=True)
        run.weights.write_bytes(RunPaths(results, "short", seed).weights.read_bytes())
    with pytest.raises(StudyError, match=r"evaluate/short/seed_0/metrics\.json: the run is not evaluated yet"):
        find_run(tmp_path, "short")


def test_weights_of_another_program(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "best.safetensors")
    with pytest.raises(StudyError, match="does not say which classes"):
        Classifier.load(tmp_path / "best.safetensors", torch.device("cpu"))
