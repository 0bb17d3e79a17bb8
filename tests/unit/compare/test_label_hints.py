"""Labels that may be wrong: those flipped on purpose come first, and every number beside a loop."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, recipe
from sklearn.metrics import average_precision_score

from study.compare.comparison import Comparison
from study.compare.label_hints import HINT_COLUMNS, NO_ANSWER, label_hints, majority, witnesses
from study.compare.runs import Run
from study.evaluate.predictions import read_predictions

FLIPPED = 20  # of 400 images of each split


def study(folder: Path, skills: dict[str, float], seeds: int = 1) -> list[Run]:
    made = [
        Made(recipe(name), skill, "collapsed" if not skill else "completed", seed, mislabelled=FLIPPED)
        for name, skill in skills.items()
        for seed in range(seeds)
    ]
    return made_runs.study(folder, made)


def compared(runs: list[Run]) -> Comparison:
    manifest = made_runs.manifest(runs)
    return comparison_of(runs, manifest=manifest.assign(label="", group="", duplicate_group=""))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return study(tmp_path_factory.mktemp("runs"), {"a": 0.8, "b": 0.75, "c": 0.75, "d": 0.8, "lost": 0.0})


def test_flipped_labels_come_first(runs: list[Run]) -> None:
    """A random order has an average precision of 5 %, the share of flipped labels."""
    hints = label_hints(compared(runs))
    assert list(hints) == HINT_COLUMNS and list(hints["rank"]) == list(range(1, len(hints) + 1))
    for split in ("val", "test"):
        ids = runs[0].scores[split].image_ids
        of_split = hints[hints["split"] == split]
        score = -of_split.set_index("image_id")["rank"].reindex(ids).fillna(10_000)
        assert average_precision_score(np.arange(len(ids)) < FLIPPED, score) > 0.8
        assert set(of_split["image_id"]) <= set(ids)


def test_the_numbers_are_those_of_a_loop(runs: list[Run]) -> None:
    hints = label_hints(compared(runs)).set_index("image_id")
    asked = [run for run in runs if not run.failed]
    read = [read_predictions(run.predictions) for run in asked if run.predictions]
    classes, found = read[0].classes, {}
    p = np.mean([np.exp(one.log_p.astype(np.float64)) for one in read], axis=0)
    scores = read[0].scores
    labels = scores["label"].cat.codes.to_numpy()
    for k, (image_id, split) in enumerate(zip(scores["image_id"], scores["split"], strict=True)):
        ((said, votes),) = Counter(int(one.scores["predicted"].cat.codes[k]) for one in read).most_common(1)
        if said != labels[k] and votes > len(read) / 2:
            like = (labels == said) & (scores["split"] == split).to_numpy()
            found[image_id] = (classes[said], votes, p[k, said], p[k, labels[k]], p[k, said] >= p[like, said].mean())
    assert set(found) == set(hints.index)
    for image_id, expected in found.items():
        row = hints.loc[image_id, ["recipes_say", "recipes_agree", "p_recipes_say", "p_label", "above_threshold"]]
        assert list(row[:2]) == list(expected[:2])
        assert list(row[2:]) == pytest.approx(list(map(float, expected[2:])), abs=1e-5)
        assert f"{expected[0]} × {expected[1]}" in hints.loc[image_id, "answers"]
    margin = (hints["p_label"] - hints["p_recipes_say"] + 1) / 2
    assert hints["normalised_margin"].tolist() == pytest.approx(margin.tolist())
    assert margin.is_monotonic_increasing


def test_majority_is_that_of_a_count() -> None:
    random = np.random.default_rng(0)
    for voters in range(1, 8):
        answers = random.integers(-1, 3, (voters, 300))
        said, votes = majority(answers)
        for k in range(300):
            answer, count = Counter(answers[:, k].tolist()).most_common(1)[0]
            assert said[k] == (answer if 2 * count > voters else NO_ANSWER)
            assert said[k] == NO_ANSWER or votes[k] == count


def test_seeds_are_one_voice_and_failed_ones_have_none(tmp_path: Path) -> None:
    runs = study(tmp_path, {"a": 0.8, "b": 0.8}, seeds=3)
    hints = label_hints(compared(runs))
    assert set(hints["recipes_agree"]) == {2} == set(hints["recipes"])
    runs[0].record["outcome"] = "diverged"
    assert [len(group) for group in witnesses(compared(runs)) if group.name == "a"] == [2]


def test_recipes_that_adjust_one_network_are_one_witness(runs: list[Run]) -> None:
    adjusted = replace(runs[0], recipe=recipe("adjusted").but(trained_as="a", posthoc="temperature"))
    names = [group.name for group in witnesses(compared([*runs, adjusted]))]
    assert "lost" not in names
    assert len({"a", "adjusted"} & set(names)) == 1


def test_one_witness_gives_no_hint(runs: list[Run]) -> None:
    table = label_hints(compared([runs[0], runs[-1]]))
    assert table.empty and list(table) == HINT_COLUMNS


def test_groups_and_copies_in_training_are_noted(runs: list[Run]) -> None:
    manifest = made_runs.manifest(runs).assign(label="x", group="", duplicate_group="")
    first = label_hints(comparison_of(runs, manifest=manifest))["image_id"].iloc[0]
    here = manifest["image_id"] == first
    manifest.loc[here, ["group", "duplicate_group"]] = ["patient 7", "3"]
    copies = manifest[here].assign(image_id="copy", split="train", label="NA")
    hints = label_hints(comparison_of(runs, manifest=pd.concat([manifest, copies]))).iloc[:2]
    assert list(hints["in_training"]) == ["NA", ""]
    assert list(hints["group"]) == ["patient 7", ""] and list(hints["duplicate_group"]) == ["3", ""]
