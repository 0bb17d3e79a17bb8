"""What would settle a claim: the epochs, seeds and images that a made-up study did not have."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import made_runs
from made_runs import Made, comparison_of, recipe
from scipy.stats import norm

from study.compare.comparison import Comparison
from study.compare.settling import settling


def pair(folder: Path, skills: tuple[float, float], seeds: Sequence[int] = (0,), limit: int = 100) -> Comparison:
    """Recipes a and b, which were allowed `limit` of their 100 epochs."""
    made = [Made(recipe(name), skill, seed=seed) for name, skill in zip("ab", skills, strict=True) for seed in seeds]
    runs = made_runs.study(folder, made)
    for run in runs:
        run.record["max_epochs"] = limit
    return comparison_of(runs, 100)


def claim(verdict: str, other: str = "b") -> dict[str, str]:
    return {"experiment_a": "a", "experiment_b": other, "verdict": verdict}


def test_a_clear_difference_of_several_seeds_leaves_nothing_open(tmp_path: Path) -> None:
    assert settling(pair(tmp_path, (0.9, 0.4), (0, 1, 2)), claim("holds"), 1) == ""


def test_one_seed_says_nothing_of_others(tmp_path: Path) -> None:
    assert settling(pair(tmp_path, (0.9, 0.4)), claim("holds"), 1) == "further seeds: one says nothing about others"


def test_recipes_that_the_limit_ended_are_named(tmp_path: Path) -> None:
    comparison = pair(tmp_path, (0.9, 0.4), (0, 1), limit=12)
    assert settling(comparison, claim("holds"), 1) == "further epochs: a and b ended at the study's limit, 12 of 100"
    assert settling(comparison, claim("reversed", ""), 1) == "further epochs: a ended at the study's limit, 12 of 100"


def test_images_that_would_find_the_measured_difference_of_two_networks(tmp_path: Path) -> None:
    comparison = pair(tmp_path, (0.70, 0.68))
    a, b = comparison.recipes.values()
    found = re.match(r"for these networks ([\d,]+) test images in place of 400; further seeds",
                     settling(comparison, claim("not distinguishable"), 3))  # fmt: skip
    assert found
    difference = a.first.correct.astype(float) - b.first.correct
    z = norm.isf(0.05 / 3 / 2) + norm.ppf(0.8)
    needed = (z / difference.mean()) ** 2 * difference.var(ddof=1)
    assert math.ceil(needed) <= int(found[1].replace(",", "")) <= 1.1 * math.ceil(needed), "two digits, rounded up"


def test_seeds_or_images_that_would_find_the_measured_difference_of_two_recipes(tmp_path: Path) -> None:
    comparison = pair(tmp_path, (0.70, 0.67), (0, 1, 2))
    words = settling(comparison, claim("not distinguishable"), 1)
    found = re.fullmatch(r"(?:([\d,]+) seeds in place of 3)?(?: or )?(?:([\d,]+) test images in place of 400)?", words)
    assert found and any(found.groups()), words
    for number, had in zip(found.groups(), (3, 400), strict=True):
        assert number is None or int(number.replace(",", "")) > had


def test_two_failures_settle_nothing(tmp_path: Path) -> None:
    assert settling(pair(tmp_path, (0.5, 0.5)), claim("cannot be judged"), 1) == "other recipes: both of these failed"
