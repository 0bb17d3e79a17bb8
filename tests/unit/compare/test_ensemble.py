"""Members chosen on validation alone, votes as a loop counts them, and a table beside the single recipes."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import PATIENTS, Made, comparison_of, fourteen, recipe
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from study.compare import ensemble
from study.compare.runs import Run
from study.errors import StudyError
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import Predictions, read_predictions, write_predictions


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def probabilities(run: Run, split: str) -> np.ndarray:
    """(N, K), from the file of the run."""
    assert run.predictions is not None
    saved = read_predictions(run.predictions)
    return softmax(saved.log_p[saved.scores["split"] == split].astype(float), axis=1)


def validation_loss(chosen: list[Run]) -> float:
    mean = sum(probabilities(run, "val") for run in chosen) / len(chosen)
    return float(log_loss(chosen[0].scores["val"].labels, mean, labels=range(7)))


def test_each_member_lowers_the_validation_loss_most(runs: list[Run]) -> None:
    chosen = ensemble.members(comparison_of(runs, ensemble_members=4))
    alive = [run for run in runs if not run.failed]
    for size in range(1, len(chosen) + 1):
        rivals = [validation_loss([*chosen[: size - 1], run]) for run in alive if run not in chosen[: size - 1]]
        assert validation_loss(chosen[:size]) == pytest.approx(min(rivals))
    assert len(chosen) > 2


def test_the_first_two_are_near_the_best_pair_of_all(runs: list[Run]) -> None:
    alive = [run for run in runs if not run.failed]
    best = min(validation_loss(list(pair)) for pair in combinations(alive, 2))
    assert validation_loss(ensemble.members(comparison_of(runs, ensemble_members=2))) == pytest.approx(best, rel=0.02)


def test_test_images_play_no_part(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, fourteen())
    before = [run.experiment for run in ensemble.members(comparison_of(runs, ensemble_members=5))]
    for run in runs:
        for values in (run.scores["test"].nll, run.scores["test"].confidence):
            values[:] = np.random.default_rng(0).random(values.shape)
    assert [run.experiment for run in ensemble.members(comparison_of(runs, ensemble_members=5))] == before


def test_the_vote_is_the_mean_and_reads_as_predictions(runs: list[Run], tmp_path: Path) -> None:
    chosen = ensemble.members(comparison_of(runs, ensemble_members=3))
    write_predictions(ensemble.vote(chosen), tmp_path / "votes.parquet")
    votes = read_predictions(tmp_path / "votes.parquet")
    test = votes.scores["split"] == "test"
    expected = np.mean([probabilities(run, "test") for run in chosen], axis=0)
    assert np.exp(votes.log_p[test]) == pytest.approx(expected, rel=1e-5)
    answers = np.array(votes.classes)[expected.argmax(axis=1)]
    accuracy = accuracy_score(votes.scores.loc[test, "label"].astype(str), answers)
    assert evaluate(votes.scores, 15)["test"]["accuracy"] == pytest.approx(accuracy)


def test_images_are_matched_by_their_ids_not_by_their_places(runs: list[Run], tmp_path: Path) -> None:
    chosen = ensemble.members(comparison_of(runs, ensemble_members=2))
    saved = read_predictions(chosen[1].predictions)
    scores, back = saved.scores[::-1], saved.log_p[::-1]
    turned = Predictions.of(scores["image_id"], scores["split"], scores["label"].cat.codes, back, saved.classes)
    write_predictions(turned, tmp_path / "turned.parquet")
    again = ensemble.vote([chosen[0], replace(chosen[1], predictions=tmp_path / "turned.parquet")])
    np.testing.assert_array_equal(again.log_p, ensemble.vote(chosen).log_p)


def test_a_vote_of_two_certain_ones_loses_nothing(tmp_path: Path) -> None:
    """Both are wrong with a probability that float32 does not have: the NLL is what it is, not infinite."""
    log_p = np.array([[-2000.0, 0.0], [-3000.0, 0.0]])
    members = []
    for name in ("a", "b"):
        write_predictions(Predictions.of(["x", "y"], ["val", "test"], [0, 0], log_p, ["u", "v"]), tmp_path / name)
        members.append(Run(recipe(name), 0, {}, {}, pd.DataFrame(), predictions=tmp_path / name))
    assert ensemble.vote(members).scores["nll"].tolist() == [2000, 3000]


def test_the_table_sets_it_beside_the_single_recipes(runs: list[Run]) -> None:
    table = ensemble.ensemble_table(comparison_of(runs, 200, ensemble_members=3))
    assert table["role"].iloc[0] == "ensemble"
    assert table["role"].str.contains("best single recipe").sum() == 1
    best = table[table["role"].str.contains("best single recipe")].iloc[0]
    assert best["name"] == f"{comparison_of(runs).best.name}, seed 0"
    expected = table["test_accuracy"][0] - best["test_accuracy"]
    assert best["accuracy_difference"] == pytest.approx(expected)
    assert best["accuracy_difference_low"] <= expected <= best["accuracy_difference_high"]
    assert table["weight"][1:].sum() == pytest.approx(1)


def test_failures_do_not_vote_unless_there_is_nothing_else(runs: list[Run], tmp_path: Path) -> None:
    assert not any(run.failed for run in ensemble.members(comparison_of(runs, ensemble_members=14)))
    lost = made_runs.study(tmp_path, [Made(recipe("a"), 0.0, "collapsed"), Made(recipe("b"), 0.0, "collapsed")])
    assert len(ensemble.members(comparison_of(lost, ensemble_members=5))) == 1


def test_predictions_are_needed(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"))], predictions=False)
    with pytest.raises(StudyError, match="needs the predictions of every run"):
        ensemble.members(comparison_of(runs, ensemble_members=3))


def test_of_patients_the_vote_is_tested_patient_by_patient(tmp_path: Path) -> None:
    made = [Made(recipe(name), 0.7) for name in "abc"]
    table = ensemble.ensemble_table(comparison_of(made_runs.study(tmp_path, made, groups=PATIENTS), 100))
    assert "p_mcnemar" not in table and table["p_sign_flip"][1:].between(0, 1).all()
    assert (table["test_accuracy_low"] < table["test_accuracy"]).all()
