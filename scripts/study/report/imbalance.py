"""Which treatment of imbalance wins: a finished study of treatments side by side, beside what the literature found.

Entry points:
    read_literature(path) -> DataFrame                     the errors that a publication reports, by experiment
    imbalance(study, literature, command) -> str           docs/IMBALANCE.md
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr, ttest_1samp

from study.compare.cost import costs
from study.compare.points import in_points, with_interval
from study.compare.power import alpha_of, found_in_words, smallest_of, variances_beside
from study.compare.runs import RecipeRuns
from study.compare.seeds_and_images import POWER, Differences, Variances, crossed_test, seeds_needed
from study.compare.statistics import Units, holm, level
from study.compare.verdicts import BETTER, HOLDS, NOT_DISTINGUISHABLE, REVERSED, UNJUDGED, WORSE
from study.errors import StudyError
from study.files import read_table
from study.recipe import listed
from study.report.answer import caution, test_names
from study.report.case_text import escape_markdown
from study.report.comparison_page import environment
from study.report.findings_page import FinishedStudy

SCORE = "balanced_accuracy"
WISHED = 0.05  # a difference of which is told how many seeds find it


def read_literature(path: Path) -> pd.DataFrame:
    """Test errors in percent, a row per experiment and a column per data set."""
    return read_table(path, text=("experiment",)).set_index("experiment")


def imbalance(study: FinishedStudy, literature: pd.DataFrame, command: str) -> str:
    """The page; every number in it is computed from the study's files and the table of the literature.

    The first recipe of the table is the plain one, which does nothing about the imbalance. A treatment is better or
    worse if `balanced_p` tells it from the plain recipe, p values adjusted by Holm over all treatments.

    Args:
        literature: as `read_literature` gives it.
        command: what makes this page again.

    Raises:
        StudyError: the plain recipe, or everything else, is not finished.
    """
    groups = study.comparison.recipes
    plain = groups.get(next(iter(study.recipes)))
    if plain is None or len(groups) < 2:
        raise StudyError(
            f"study '{study.name}': the first recipe of its table and one more have to be finished; run it first"
        )
    rows, comparison = _rows(study, plain), study.comparison
    variances = variances_beside(comparison, plain, partial(_added, units=comparison.units))
    smallest = 1.0 if variances is None else smallest_of(comparison, variances)
    beside, labels = _beside_literature(rows, plain, literature), plain.first.scores["test"].labels
    return (
        environment(html=False)
        .get_template("imbalance.md.j2")
        .render(
            command=command,
            points=with_interval,
            plain=escape_markdown(plain.name),
            rows=rows,
            source=escape_markdown(study.config["data"]["source"]),
            balanced=len(set(np.bincount(labels))) == 1,
            best_by=study.config["training"]["best_by"].replace("_", " "),
            tables=listed([f"[{path}](../{path})" for path in _tables(study)]),
            caution=escape_markdown(
                caution(comparison, power=_power(study, plain, smallest, variances), test="Student's paired test")
            ),
            smallest=in_points(smallest) if smallest < 1 else "",
            power=f"{POWER:.0%}",
            rarest=listed(list(map(escape_markdown, _rarest(study)))),
            over=test_names(comparison.units is not None)[2],
            gains_found=sum(abs(float(np.mean(row["gains"]))) >= 100 * smallest for row in beside),
            verdicts={word: [row["name"] for row in rows if row["verdict"] == word] for word in (BETTER, WORSE)},
            literature=beside,
            published=list(literature.columns),
            agreement=_agreement(rows, literature),
            confidence=level(study.comparison.confidence),
            seeds=len(plain),
            images=study.comparison.test_images,
            counts=_counts(study),
            missing=[escape_markdown(name) for name in study.recipes if name not in groups],
        )
    )


def _tables(study: FinishedStudy) -> list[str]:
    """The study's tables of recipes, as its configuration names them."""
    tables = study.config["experiments"]
    return [tables] if isinstance(tables, str) else list(tables)


def _rows(study: FinishedStudy, plain: RecipeRuns) -> list[dict[str, Any]]:
    """Every recipe, the best first: its scores, and its difference from the plain one."""
    comparison = study.comparison
    others = [group for group in comparison.recipes.values() if group.name != plain.name]
    found = holm([balanced_p(group, plain, comparison.units) for group in others])
    p_values = {group.name: p for group, p in zip(others, found, strict=True)}
    seconds = costs(comparison).set_index("experiment")["seconds"]
    rows = []
    for group in [plain, *others]:
        row: dict[str, Any] = {
            "key": group.name,
            "name": escape_markdown(group.name),
            "score": group.score("test", SCORE),
            "interval": comparison.interval(group, SCORE),
            "rare": _recall_of_the_rarest(study, group),
            "seconds": float(seconds[group.name]),
            "failure": group.failure,
            "verdict": "",
        }
        if group.name in p_values:
            low, high = comparison.difference_interval(group, plain, SCORE)
            row["difference"] = row["score"] - plain.score("test", SCORE), low, high
            row["p"] = p_values[group.name]
            told = row["p"] <= 1 - comparison.confidence
            row["verdict"] = NOT_DISTINGUISHABLE if not told else BETTER if row["difference"][0] > 0 else WORSE
        rows.append(row)
    return sorted(rows, key=lambda row: -row["score"])


def balanced_p(a: RecipeRuns, b: RecipeRuns, units: Units | None) -> float:
    """Two-sided p value of "both recipes have the same balanced accuracy", the seeds paired.

    Balanced accuracy is the mean of what each image adds: 1 where the recipe is right, times N over the number of
    classes and that of the image's class. So the tests of a mean apply: of several seeds `crossed_test`, of one
    Student's paired test over the images (Student 1908; `scipy.stats.ttest_1samp`).

    Args:
        units: which image is of which independent unit, (N,); None if each is its own.
    """
    added = _added(a, b, units)
    if not added.any() or added.shape[1] == 1:
        return 1.0
    return crossed_test(added) if len(added) > 1 else float(ttest_1samp(added[0], 0).pvalue)


def _added(a: RecipeRuns, b: RecipeRuns, units: Units | None) -> Differences:
    """What each image, or unit, adds to the difference in balanced accuracy: (S, N) or (S, G), whose mean that is."""
    labels = a.first.scores["test"].labels
    images = np.bincount(labels)
    weights = len(labels) / ((images > 0).sum() * images[labels])
    added = np.array([weights * (one.correct.astype(float) - two.correct) for one, two in zip(a, b, strict=True)])
    if units is None:
        return added
    of_units = np.array([np.bincount(units, row) for row in added])
    return of_units * (of_units.shape[1] / len(labels))


def _power(study: FinishedStudy, plain: RecipeRuns, smallest: float, variances: Variances | None) -> str:
    """The smallest difference that is found, and the seeds that find `WISHED`, in words."""
    text = found_in_words(f"between a treatment and {plain.name}", smallest)
    if variances is None or smallest >= 1 or not plain.several_seeds or smallest <= WISHED:
        return text
    needed = seeds_needed(WISHED, variances, study.comparison.test_units, alpha_of(study.comparison))
    answer = f"{needed:,} seeds" if needed else "not reachable with any number of seeds"
    return f"{text} To find {in_points(WISHED)} with these test images: {answer}."


def _rarest(study: FinishedStudy) -> list[str]:
    """The third of the classes with the fewest training images, one at least."""
    weights = study.comparison.class_weights
    assert weights is not None
    return list(weights.sort_values("count", kind="stable")["class"].head(max(1, len(weights) // 3)))


def _recall_of_the_rarest(study: FinishedStudy, group: RecipeRuns) -> float:
    """Mean test recall of the `_rarest` classes, over seeds; nan if unknown."""
    recalls = [run.metrics["test"]["recall"][name] for run in group for name in _rarest(study)]
    known = [recall for recall in recalls if recall is not None]
    return float(np.mean(known)) if known else math.nan


def _counts(study: FinishedStudy) -> str:
    """Training images of the most common and the rarest class."""
    weights = study.comparison.class_weights
    assert weights is not None
    return f"{weights['count'].max()} to {weights['count'].min()}"


def _beside_literature(
    rows: Sequence[dict[str, Any]], plain: RecipeRuns, literature: pd.DataFrame
) -> list[dict[str, Any]]:
    """What was published of each treatment against plain cross entropy, and whether it holds here."""
    if plain.name not in literature.index:
        return []
    beside = []
    for row in rows:
        if row["key"] == plain.name or row["key"] not in literature.index:
            continue
        gains = literature.loc[plain.name] - literature.loc[row["key"]]
        signs = set(np.sign(gains))
        if len(signs) != 1 or signs == {0.0}:
            verdict = "no common claim"
        elif plain.failed:
            verdict = UNJUDGED
        elif row["verdict"] == NOT_DISTINGUISHABLE:
            verdict = NOT_DISTINGUISHABLE
        else:
            verdict = HOLDS if (row["difference"][0] > 0) == (signs == {1.0}) else REVERSED
        beside.append(row | {"gains": list(gains), "claim": verdict})
    return sorted(beside, key=lambda row: -float(np.mean(row["gains"])))


def _agreement(rows: Sequence[dict[str, Any]], literature: pd.DataFrame) -> list[dict[str, Any]]:
    """Spearman's rank correlation between our balanced error and each published one, over the recipes in both.

    It has no p value: recipes that share images, seeds and a start are no independent draws.
    """
    both = [row for row in rows if row["key"] in literature.index]
    if len(both) < 3:
        return []
    found = []
    for name in literature.columns:
        result = spearmanr([-row["score"] for row in both], [literature.loc[row["key"], name] for row in both])
        found.append({"name": name, "rho": float(result.statistic), "recipes": len(both)})
    return found
