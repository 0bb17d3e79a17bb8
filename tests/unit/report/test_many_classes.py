"""Figures of more classes than can be shown one by one: what they say, and that they stay small."""

import itertools
import re
from pathlib import Path

import made_runs
import numpy as np
import pytest
from made_runs import Made, recipe
from test_figures import DRAWN, material, texts

from study.report.figures.classes import GROUPS, MANY, groups_of

CLASSES = [f"class {k:03d}" for k in range(120)]
BY_CLASS = ("class_recall", "confused", "confusion", "reliability", "recall", "class_counts", "samples")


@pytest.mark.parametrize("figure", BY_CLASS)
def test_figures_of_many_classes_are_small_and_the_same_twice(figure: str, tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 0.7), Made(recipe("b"), 0.4)], CLASSES, images=1500)
    drawn = []
    for k in range(2):
        path = tmp_path / f"{k}.svg"
        DRAWN[figure].draw(material(runs), path, *(["a"] if DRAWN[figure].per else []))
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1] and len(drawn[0]) < 1_500_000
    shown = texts(tmp_path / "0.svg")
    assert len([text for text in shown if text.startswith("class ")]) <= MANY
    if figure in ("class_recall", "recall"):
        assert len([text for text in shown if re.match(r"\d+ classes of ", text)]) == GROUPS


def test_groups_hold_every_class_with_an_image_once() -> None:
    images = np.random.default_rng(0).integers(0, 50, 200)
    groups = groups_of(images)
    assert sorted(np.concatenate([some for _, some in groups])) == np.flatnonzero(images).tolist()
    ends = [(images[some].min(), images[some].max()) for _, some in groups]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(ends))
