"""The answer in words."""

from dataclasses import replace
from pathlib import Path

import made_runs
import pandas as pd
import pytest
from made_runs import AUDIT, PATIENTS, TEST_UNITS, Made, comparison_of, fourteen, recipe

from study.compare.power import power_table
from study.compare.runs import Run
from study.compare.verdicts import WORSE
from study.report import answer
from study.report.answer import audit_facts, caution, headline


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return made_runs.study(tmp_path / "runs", fourteen())


def test_headline_names_winner_interval_and_failures(runs: list[Run]) -> None:
    text = headline(comparison_of(runs))
    assert "\n" not in text
    assert text.startswith(
        f"{comparison_of(runs).best.name} is the best recipe of 14: chosen by its validation accuracy of "
    )
    assert "95% interval" in text
    assert "Not distinguishable from it: " in text
    assert "Collapsed: adam_ver1, adam_ver4. Diverged: adam_ver2." in text


def test_headline_of_one_recipe_and_of_failures_alone(runs: list[Run]) -> None:
    assert headline(comparison_of(runs[:1])).startswith("sgd_ver1 is the only recipe: with a validation accuracy of")
    failed = [run for run in runs if run.failed]
    assert headline(comparison_of(failed)).startswith("Every recipe failed; adam_ver")


def test_headline_has_the_baseline_and_who_is_not_better(tmp_path: Path) -> None:
    rare = made_runs.with_rare_class(tmp_path)
    share = (rare.runs[0].scores["test"].labels == 0).mean()
    assert (
        f"The baseline, always answering 'common', the largest class in training, has {share:.1%} of the test images "
        f"right (balanced accuracy 50.0%, that of both {rare.best.score('test', 'balanced_accuracy'):.1%}). Not better "
        "than always answering 'common': guesses, stuck."
    ) in headline(rare)
    without = rare.among(["guesses", "stuck", "collapsed"])
    assert "%). No recipe is better than always answering 'common'." in headline(without)
    assert "%). Not better than always answering 'common': guesses." in headline(rare.among(["guesses"]))
    assert "%). Collapsed: collapsed." in headline(rare.among(["both", "collapsed"]))


def test_headline_names_the_recipe_that_counting_every_class_alike_would_choose(tmp_path: Path) -> None:
    rare = made_runs.with_rare_class(tmp_path)
    assert "Counting every class alike" not in headline(rare)
    stuck = rare.recipes["stuck"].first
    for split in ("val", "test"):
        stuck.metrics[split] |= {"balanced_accuracy": 0.97, "macro_f1": 0.96}
    both = rare.best.first.metrics["test"]
    assert (
        f"Counting every class alike, validation would have chosen stuck (balanced accuracy 97.0%, not "
        f"{both['balanced_accuracy']:.1%}; macro-F1 0.960, not {both['macro_f1']:.3f} on the test images)."
    ) in headline(rare)
    stuck.metrics["val"]["macro_f1"] = 0.0
    assert "macro-F1" not in headline(rare)


def test_a_high_confidence_keeps_its_digits(runs: list[Run]) -> None:
    assert "(99.9% interval" in headline(comparison_of(runs, confidence=0.999))


def test_headline_counts_failed_seeds(tmp_path: Path) -> None:
    made = [replace(Made(recipe("a")), seed=seed, outcome=("completed", "diverged")[seed]) for seed in (0, 1)]
    text = headline(comparison_of(made_runs.study(tmp_path, made)))
    assert "Diverged in 1 of 2 seeds: a." in text
    assert "over 2 seeds" in text


def test_one_seed_is_owned_up_to(runs: list[Run]) -> None:
    assert "Each recipe was trained once" in caution(comparison_of(runs))


def test_caution_says_what_could_have_been_found_and_what_more_would_take(tmp_path: Path) -> None:
    made = [Made(recipe(name), 0.8, seed=seed) for name in ("a", "b", "c") for seed in range(3)]
    whole = comparison_of(made_runs.study(tmp_path, made))
    text = caution(whole)
    assert "over further seeds and further images" in text
    smallest = power_table(whole)["difference"].iloc[0]
    assert f"is found in 80% of such studies if it is {100 * smallest:.2g} points or more" in text
    assert "To find 5 points: with these test images " in text and " with these seeds " in text


def test_one_seed_does_not_say_how_many_are_needed(runs: list[Run]) -> None:
    text = caution(comparison_of(runs))
    assert "between two of these networks" in text and "with this seed " in text
    assert "with these test images" not in text
    assert "found" not in caution(comparison_of(runs[:1]))


@pytest.mark.parametrize("smallest", [0.006, 0.03, 0.2])
def test_the_largest_wished_difference_that_is_not_found_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: float
) -> None:
    made = [Made(recipe(name), 0.8, seed=seed) for name in ("a", "b") for seed in range(2)]
    whole = comparison_of(made_runs.study(tmp_path, made))
    table = power_table(whole)
    table.loc[0, "difference"] = smallest
    monkeypatch.setattr(answer, "power_table", lambda _: table)
    told = {0.006: "0.5 points", 0.03: "2 points", 0.2: "5 points"}[smallest]
    assert f"To find {told}: with these test images " in caution(whole)


def test_many_names_are_counted(tmp_path: Path) -> None:
    made = [Made(recipe(f"r{k:02d}"), 0.9 if k < 15 else 0.5) for k in range(40)]
    made += [Made(recipe(f"lost{k:02d}"), 0.0, "collapsed") for k in range(20)]
    whole = comparison_of(made_runs.study(tmp_path, made, images=300))
    text = headline(whole)
    worse = sum(group.verdict == WORSE and not group.failed for group in whole.recipes.values())
    assert f"Worse ({worse} recipes): " in text and f" and {worse - 11} more." in text
    assert text.endswith("lost10 and 9 more.")
    assert "tiers" not in text  # two need no list


def test_tiers_are_counted(tmp_path: Path) -> None:
    made = [Made(recipe(name), skill) for name, skill in {"a": 0.95, "b": 0.94, "c": 0.7, "d": 0.3}.items()]
    text = headline(comparison_of(made_runs.study(tmp_path, made)))
    assert "The tests make 3 tiers of them, the best first, of 2, 1, 1 recipes." in text


def test_data_in_words() -> None:
    text = " ".join(audit_facts(AUDIT))
    assert "7 images have exact copies, in 3 groups, 2 groups of them with contradictory labels" in text
    assert "contradictory ones: policy 'drop', 4 dropped" in text
    assert "2 of 12 validation and test images have an exact copy in training." in text
    assert "Copies added before the split: 5 of *x*." in text
    assert "blank" not in text


def test_data_other_than_expected_comes_first() -> None:
    sentences = ["Class 'a': 1 images found, 2 expected.", "Official split 'test': 3 images found, 4 expected."]
    assert audit_facts(AUDIT | {"expected": sentences}) == sentences + audit_facts(AUDIT)


@pytest.mark.parametrize("seeds", [1, 2])
def test_patients_are_counted_and_said_to_be_the_unit(tmp_path: Path, seeds: int) -> None:
    made = [Made(recipe(name), skill, seed=seed) for name, skill in (("a", 0.7), ("b", 0.6)) for seed in range(seeds)]
    whole = comparison_of(made_runs.study(tmp_path, made, groups=PATIENTS))
    if seeds == 1:
        assert f"from 400 test images of {TEST_UNITS} independent groups)" in headline(whole)
        assert "(exact sign-flip test of whole groups, Holm's correction)" in caution(whole)
        assert " test groups." in caution(whole)
    else:
        assert "from the variance between seeds and between groups" in caution(whole)
    assert (
        f"The 400 test images are of {TEST_UNITS} groups (patients, objects, places; an image without one"
        in caution(whole)
    )
    assert "too narrow" not in caution(whole)


def test_few_patients_are_warned_of(tmp_path: Path) -> None:
    groups = pd.Series({f"image_{k:05d}": f"patient {k // 40}" for k in range(800)})
    whole = comparison_of(made_runs.study(tmp_path, [Made(recipe("a")), Made(recipe("b"))], groups=groups))
    assert "10 groups are few: intervals are too narrow" in caution(whole)


def test_groups_of_the_audit_in_words() -> None:
    groups = {
        "groups": 1200, "images": 5000, "largest": 31, "of_several_classes": 40, "across_official_splits": 3, "torn": 0,
        "splits": {
            "train": {"groups": 1000, "ungrouped": 500}, "val": {"groups": 100, "ungrouped": 0},
            "test": {"groups": 100, "ungrouped": 7},
        },
    }  # fmt: skip
    done = AUDIT["done"] | {"torn_groups": {"policy": "drop", "dropped": 12}}
    facts = " ".join(audit_facts(AUDIT | {"groups": groups, "done": done}))
    assert (
        "5,000 images are of 1,200 groups, 31 of the largest; 40 of them show several classes. Training, validation "
        "and test have 1,500, 100 and 107 independent units"
    ) in facts
    assert "3 groups have images in several official splits (policy 'drop', 12 dropped)." in facts
    assert "rest on memory" not in facts
    assert "3 groups have images in several of the splits used here" in " ".join(
        audit_facts(AUDIT | {"groups": groups | {"torn": 3}, "done": done})
    )


def test_near_copies_of_the_audit_in_words() -> None:
    near = {
        "correlation": 0.86, "groups": 1200, "images": 3100, "largest": 24, "of_several_classes": 40,
        "across_official_splits": 3, "leakage": {"official": None, "final": {"val": 3, "test": 4}},
    }  # fmt: skip
    done = AUDIT["done"] | {"near_duplicates": {"policy": "group", "dropped": 12}}
    facts = audit_facts(AUDIT | {"near_copies": near, "done": done})
    assert (
        "3,100 images have near copies (correlation of details of at least 0.86), in 1,200 groups, 40 of them of "
        "several classes, 24 images in the largest (policy 'group', 12 dropped)."
    ) in facts
    assert facts[-1].endswith(
        "2 of 12 validation and test images have an exact copy in training, 7 an exact or a near one."
    )
    none = audit_facts(AUDIT | {"near_copies": near | {"groups": 0, "images": 0}, "done": done})
    assert "No image has a near copy (correlation of details of at least 0.86)." in none
