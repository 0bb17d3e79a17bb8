"""Members chosen on validation alone, votes as a loop counts them, and a table beside the single recipes."""

from itertools import combinations
from pathlib import Path

import made_runs
import numpy as np
import pytest
from made_runs import Made, comparison_of, fourteen, recipe
from sklearn.metrics import accuracy_score, log_loss

from study.compare import ensemble
from study.compare.runs import Run
from study.errors import StudyError
from study.evaluate.metrics import decode, evaluate, read_predictions


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def validation_loss(chosen: list[Run]) -> float:
    mean = sum(run.scores["val"].probabilities for run in chosen) / len(chosen)
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
        run.scores["test"].probabilities[:] = np.random.default_rng(0).random(run.scores["test"].probabilities.shape)
    assert [run.experiment for run in ensemble.members(comparison_of(runs, ensemble_members=5))] == before


def test_the_vote_is_the_mean_and_reads_as_predictions(runs: list[Run], tmp_path: Path) -> None:
    chosen = ensemble.members(comparison_of(runs, ensemble_members=3))
    ensemble.vote(chosen).to_csv(tmp_path / "votes.csv", index=False)
    table = read_predictions(tmp_path / "votes.csv")
    test = table[table["split"] == "test"]
    labels, predicted, probabilities = decode(test)
    k = 17
    expected = [np.mean([run.scores["test"].probabilities[k, c] for run in chosen]) for c in range(7)]
    assert probabilities[k] == pytest.approx(expected)
    assert evaluate(table, 15)["test"]["accuracy"] == pytest.approx(accuracy_score(labels, predicted))


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
