"""What always answering the largest class reaches, beside every accuracy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import COUNTS, comparison_of, recipe, with_rare_class, with_reported
from scipy.stats import binomtest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from study.compare.baseline import baseline_of
from study.compare.case_table import case_table
from study.compare.comparison import Comparison
from study.compare.conclusions import conclusions
from study.compare.diagnosis import no_better
from study.compare.run_table import run_table
from study.compare.runs import Run
from study.compare.statistics import wilson_interval


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return with_rare_class(tmp_path_factory.mktemp("rare"))


def test_it_is_what_scikit_learns_most_frequent_answer_reaches(rare: Comparison) -> None:
    baseline = baseline_of(COUNTS, rare.runs[0])
    assert baseline.name == "common"
    training = np.repeat([0, 1], COUNTS["count"])
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(training), 1)), training)
    for split in ("val", "test"):
        labels = rare.runs[0].scores[split].labels
        answers = dummy.predict(np.zeros((len(labels), 1)))
        assert baseline.accuracy[split] == accuracy_score(labels, answers)
        assert baseline.balanced_accuracy[split] == balanced_accuracy_score(labels, answers) == 0.5


def test_the_class_is_the_largest_of_training_not_of_the_test(rare: Comparison) -> None:
    baseline = baseline_of(COUNTS.assign(count=[10, 90]), rare.runs[0])
    labels = rare.runs[0].scores["test"].labels
    assert (baseline.name, baseline.accuracy["test"]) == ("rare", (labels == 1).mean())


def test_a_recipe_is_better_only_if_the_paired_test_says_so(rare: Comparison) -> None:
    labels = rare.runs[0].scores["test"].labels
    for name, group in rare.recipes.items():
        only_it = (group.first.correct & (labels == 1)).sum()
        only_the_baseline = (~group.first.correct & (labels == 0)).sum()
        p = binomtest(only_it, only_it + only_the_baseline).pvalue if only_it + only_the_baseline else 1
        expected = "better" if only_it > only_the_baseline and p <= 0.05 else "not better"
        assert rare.vs_baseline(group) == expected == ("better" if name == "both" else "not better")


def test_what_both_are_right_about_says_nothing(rare: Comparison) -> None:
    """Of 400 images 24 are rare: to find 8 without a false alarm is better, though the interval reaches down."""
    run, labels = rare.runs[0], np.where(np.arange(400) < 24, 1, 0)
    baseline, comparison = baseline_of(COUNTS, run), comparison_of([run], class_weights=COUNTS)

    def finds(count: int) -> Run:
        predicted = np.where(np.arange(400) < count, 1, 0)
        return replace(run, scores={"test": replace(run.scores["test"], labels=labels, predicted=predicted)})

    assert wilson_interval(384, 400, 0.95)[0] < 376 / 400
    assert [comparison.beats_baseline([finds(count)], baseline) for count in (24, 8, 4)] == [True, True, False]
    assert [comparison.beats_baseline([finds(count)] * 3, baseline) for count in (8, 2)] == [True, False]


def test_the_tables_have_it_beside_every_accuracy(rare: Comparison) -> None:
    assert rare.baseline is not None
    table = run_table(rare).set_index("experiment")
    assert set(table["baseline_class"]) == {"common"}
    assert set(table["baseline_accuracy"]) == {rare.baseline.accuracy["test"]}
    assert table["vs_baseline"].to_dict() == {
        "both": "better", "guesses": "not better", "collapsed": "not better", "stuck": "not better",
    }  # fmt: skip
    case = case_table(rare, 1).set_index("property")
    assert case.loc["baseline"].tolist() == ["always common"] * 4
    assert case.loc["baseline balanced accuracy"].tolist() == [0.5] * 4
    assert case.loc["compared with baseline"].tolist() == ["better", *["not better"] * 3]


def test_conclusions_name_accuracies_that_are_no_better(rare: Comparison) -> None:
    table = conclusions(with_reported(rare.runs)).set_index("claim")
    assert "baseline" not in " ".join(table["sentence"])
    sentences = conclusions(comparison_of(rare.runs, class_weights=COUNTS)).set_index("claim")
    text = sentences.loc["both is the best of the reported recipes", "sentence"]
    assert text == "Reported as the best of 4: both. Here every other one is worse on the same test images."
    stuck = sentences.loc["stuck fails"]
    assert stuck["verdict"] == "not distinguishable"
    accuracy = rare.recipes["stuck"].accuracy("test")
    assert stuck["sentence"] == (
        f"stuck was reported as failed (stopped): here it gets to {accuracy:.1%} of the test images; stuck is not "
        "better than always answering 'common'."
    )
    assert sentences.loc["collapsed fails", "verdict"] == "holds"


def test_the_diagnosis_says_it_of_both_splits(rare: Comparison) -> None:
    run = {run.experiment: run for run in rare.runs}
    assert rare.baseline is not None
    accuracy = rare.baseline.accuracy
    assert no_better(rare, run["both"]) == no_better(rare, run["collapsed"]) == []
    assert no_better(rare, run["guesses"]) == [
        f"Not better than always answering 'common': validation accuracy, {run['guesses'].val_accuracy:.4f} "
        f"({accuracy['val']:.4f}) and test accuracy, {run['guesses'].test_accuracy:.4f} ({accuracy['test']:.4f}); "
        f"balanced accuracy on the test images, {run['guesses'].metrics['test']['balanced_accuracy']:.4f} (0.5000)."
    ]


def test_without_the_counts_of_training_nothing_is_said(rare: Comparison, tmp_path: Path) -> None:
    plain = comparison_of(rare.runs)
    assert plain.baseline is None
    assert plain.vs_baseline(plain.best) == ""
    assert not [name for name in run_table(plain) if "baseline" in name]


def test_a_class_without_a_test_image_leaves_the_mean() -> None:
    found = {"recall": {"a": 1.0, "b": 0.0, "c": None}, "class_images": {"a": 6, "b": 4, "c": 0}}
    run = Run(recipe("a"), 0, {}, {"val": found, "test": found}, pd.DataFrame())
    counts = pd.DataFrame({"class": ["a", "b", "c"], "count": [5, 5, 3]})
    assert baseline_of(counts, run).balanced_accuracy["test"] == 0.5
    assert baseline_of(counts, run).name == "a"
    rarest = baseline_of(counts.assign(count=[1, 1, 3]), run)
    assert (rarest.accuracy["test"], rarest.balanced_accuracy["test"]) == (0, 0)
