"""Runs are found by name, the best one on validation, and what their files say of them is enough to use them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from finished_run import finish, planned

from study.commands.trained_run import Classifier, find_run
from study.errors import StudyError
from study.files import read_json
from study.paths import RunPaths

BOTH = {"long": 10, "short": 1}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "small"
    finish(folder, "long", 0, 10)
    finish(folder, "short", 0, 1)
    finish(folder, "short", 1, 1)
    return folder


def accuracy(run: RunPaths) -> float:
    return float(read_json(run.metrics)["val"]["accuracy"])


def test_runs_are_found_by_name_and_best_on_validation(results: Path) -> None:
    long, *short = RunPaths(results, "long", 0), RunPaths(results, "short", 0), RunPaths(results, "short", 1)
    study, said = planned(results, BOTH), []
    assert find_run(study, "long", said.append) == long
    assert find_run(study, "short/seed_1", said.append) == short[1]
    assert find_run(study, "short", said.append) == max(short, key=accuracy)
    assert accuracy(long) > max(map(accuracy, short))
    assert find_run(study, "best", said.append) == long
    assert said == []


def test_unknown_runs_and_studies_are_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"run 'lang': not found in .*; allowed: best, long, short"):
        find_run(planned(results, BOTH), "lang")
    with pytest.raises(StudyError, match="no finished run; train first"):
        find_run(planned(tmp_path, BOTH), "best")


def test_what_left_the_study_is_never_the_best_and_said_to_be_left_out(results: Path) -> None:
    said: list[str] = []
    assert find_run(planned(results, {"short": 1}, seeds=(1,)), "best", said.append) == RunPaths(results, "short", 1)
    removed = f"{results}/train/long/seed_0 {results}/evaluate/long/seed_0"
    assert said == [
        "note: long, seed 0: takes part in nothing, because its recipe is not in the table of recipes any more; to "
        f"remove it: rm -r -- {removed}",
        "note: short, seed 0: takes part in nothing, because its seed is not in `seeds` any more; to remove it: rm -r "
        f"-- {results}/train/short/seed_0 {results}/evaluate/short/seed_0",
    ]


def test_what_left_the_study_is_used_when_it_is_named_and_that_is_said(results: Path) -> None:
    for name in ("long", "long/seed_0"):
        said: list[str] = []
        assert find_run(planned(results, {"short": 1}), name, said.append) == RunPaths(results, "long", 0)
        assert "not in the table of recipes" in said[0] and said[1:] == [
            f"note: {name} is used because it was asked for by name"
        ]


def test_a_run_of_another_recipe_than_the_one_of_now_takes_no_part(results: Path) -> None:
    said: list[str] = []
    assert find_run(planned(results, {"long": 20, "short": 1}), "best", said.append).experiment == "short"
    assert "long, seed 0: takes part in nothing, because it was trained with max_epochs 10, now 20" in said[0]
    with pytest.raises(StudyError, match="no finished run belongs to the study as it is now; run Snakemake"):
        find_run(planned(results, {"long": 20, "other": 1}), "best", said.append)


def test_a_run_that_is_not_evaluated_yet_cannot_be_the_best(results: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        run = RunPaths(tmp_path, "short", seed)
        run.trained.mkdir(parents=True)
        run.weights.write_bytes(RunPaths(results, "short", seed).weights.read_bytes())
    with pytest.raises(StudyError, match=r"evaluate/short/seed_0/metrics\.json: the run is not evaluated yet"):
        find_run(planned(tmp_path, BOTH), "short")


def test_a_run_restored_without_weights_is_chosen_among_and_its_file_named(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "small")
    weights = RunPaths(tmp_path / "small", "long", 0).weights
    weights.unlink()
    study, said = planned(tmp_path / "small", BOTH), []
    for name in ("best", "long", "long/seed_0"):
        with pytest.raises(StudyError, match=rf"^{weights}: missing, .* snakemake … -- {weights}$"):
            find_run(study, name, said.append)
    assert find_run(study, "short", said.append).experiment == "short" and said == []
    for other in ("short/seed_0", "short/seed_1"):
        (tmp_path / "small/train" / other / "best.safetensors").unlink()
    with pytest.raises(StudyError, match=rf"^{weights}: missing"):
        find_run(study, "best", said.append)


def test_a_row_that_takes_a_training_without_weights_is_no_less_a_run(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "small")
    study = planned(tmp_path / "small", BOTH)
    row = study.recipes["long"].but(experiment="row", trained_as="long", tta="hflip")
    study = replace(study, recipes={**study.recipes, "row": row})
    long, evaluated = (RunPaths(study.results, name, 0).evaluated for name in ("long", "row"))
    shutil.copytree(long, evaluated)
    RunPaths(study.results, "long", 0).weights.unlink()
    with pytest.raises(StudyError, match=r"train/long/seed_0/best\.safetensors: missing, so that run row/seed_0 has"):
        find_run(study, "row")


def test_weights_of_another_program(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "best.safetensors")
    with pytest.raises(StudyError, match="does not say which classes"):
        Classifier.load(tmp_path / "best.safetensors", torch.device("cpu"))
