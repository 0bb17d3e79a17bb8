"""How each recipe does on parts of the test images: by what else the source says of them (age, sex, site, device).

Entry points:
    subgroups(comparison) -> DataFrame                     tables/subgroups.csv
    subgroup_columns(manifest, image_ids) -> ([Column], {name: why not})
    subgroup_facts(table, experiment, confidence) -> sentences
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import fisher_exact

from study.compare.comparison import EVERY_SEED, Comparison
from study.compare.points import signed
from study.compare.runs import RecipeRuns, Subset
from study.compare.statistics import Units, holm, level, with_seeds
from study.compare.verdicts import HIGHER, LOWER, NOT_DISTINGUISHABLE
from study.data.manifest import MANIFEST_COLUMNS

MOST_VALUES = 20  # of a column; numbers of which there are more are put in bins
BINS = 4  # quartiles
FEWEST = 10  # independent images on either side that are tested: fewer tell little, and cost the others by Holm
LEAST_P, MOST_P = 1e-12, 1 - 1e-6  # between which p values are looked for
NAMED = 6  # subgroups in a sentence

SUBGROUP_COLUMNS = [
    *("experiment", "seed", "column", "value", "images", "units"),
    *("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy"),
    *("rest_images", "rest_accuracy", "rest_balanced_accuracy"),
    *("difference", "difference_low", "difference_high", "p_holm", "verdict", "left_out"),
]


@dataclass(frozen=True, eq=False)
class Column:
    """A column of the manifest by which the test images are divided.

    Attributes:
        name: of the column.
        categories: what it may say, in their order; of numbers put in bins what the bins hold.
        codes: which of them each test image has, (N,); −1 for an empty cell.
    """

    name: str
    categories: Sequence[str]
    codes: NDArray[np.int64]


def subgroups(comparison: Comparison) -> pd.DataFrame:
    """Test scores of every recipe on the images with each value of each further column of the manifest.

    The rest, which a subgroup is compared with, are the test images with another value in the column; those with an
    empty cell are in neither. Scores are means over the seeds. For the intervals see `Subset.interval` and
    `difference_interval`. The best recipe alone is tested: p_holm is `p_value`, adjusted by Holm over all subgroups
    with `FEWEST` independent images on either side (the two of a column with two values are one test), and the verdict
    is "higher" or "lower" than the rest if it is at most 1 − confidence.

    Args:
        comparison: with the manifest.

    Returns:
        SUBGROUP_COLUMNS; `units` is how many independent units the images are. One row for each column that is not
        divided by, with `left_out` saying why and nothing else. No row if the source says nothing more of its images.
    """
    assert comparison.manifest is not None
    columns, left_out = subgroup_columns(comparison.manifest, comparison.runs[0].scores["test"].image_ids)
    rows = [
        row
        for group in comparison.recipes.values()
        for column in columns
        for row in _rows(group, column, comparison.units, comparison.confidence)
    ]
    _judge([row for row in rows if row["experiment"] == comparison.best.name], columns, comparison)
    nothing = dict.fromkeys(("experiment", "seed", "value", "verdict"), "")
    rows += [{**nothing, "column": name, "left_out": why} for name, why in left_out.items()]
    table = pd.DataFrame(rows, columns=SUBGROUP_COLUMNS)
    return table.astype({name: "Int64" for name in ("images", "units", "rest_images")})


def subgroup_columns(manifest: pd.DataFrame, image_ids: NDArray[np.str_]) -> tuple[list[Column], dict[str, str]]:
    """The columns that the source brought, by which images are divided, and why others are not.

    A column with 2 to `MOST_VALUES` values among the kept images is taken as it is, numbers in their order. Numbers of
    which there are more go into quartiles of the kept images (`pandas.qcut`). Texts of which there are more divide
    nothing.

    Args:
        manifest: as `study.data.manifest.read_manifest` gives it.
        image_ids: of the test images, (N,).
    """
    images = manifest[manifest["status"] == "kept"].set_index("image_id")
    columns, left_out = [], {}
    for name in images.columns.difference([*MANIFEST_COLUMNS], sort=False):
        cells = images[name].astype("str").str.strip()
        divided, why = _divided(cells[cells != ""])
        here = divided.reindex(image_ids)
        if not why and here.nunique() < 2:
            why = "all test images have one value"
        if why:
            left_out[str(name)] = why
        else:
            values = [str(value) for value in here.cat.categories]
            columns.append(Column(str(name), values, here.cat.codes.to_numpy(np.int64)))
    return columns, left_out


def _divided(cells: pd.Series) -> tuple[pd.Series, str]:
    """Cells as ordered categories, or why not."""
    values = cells.unique()
    numbers = pd.to_numeric(cells, errors="coerce")
    numeric = bool(np.isfinite(numbers.to_numpy(np.float64)).all())
    if len(values) < 2:
        return cells, "no image has a value" if not len(values) else "all images have one value"
    if len(values) <= MOST_VALUES:
        order = list(cells[numbers.sort_values(kind="stable").index].unique()) if numeric else sorted(values)
        return cells.astype(pd.CategoricalDtype(order, ordered=True)), ""
    if not numeric:
        return cells, f"{len(values):,} different texts, more than {MOST_VALUES}"
    bins, edges = pd.qcut(numbers, BINS, retbins=True, duplicates="drop")
    if len(edges) < 3:
        return cells, "nearly all images have one value"
    shown = [f"{edge:.6g}" for edge in edges]
    if len(set(shown)) < len(shown):
        shown = [repr(float(edge)) for edge in edges]
    names = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
    return bins.cat.rename_categories([names[0], *(f"above {name}" for name in names[1:])]), ""


def difference_interval(one: Subset, two: Subset, confidence: float) -> tuple[float, float]:
    """Interval of the accuracy on some images minus that on others, from the intervals of both.

    Either side is the root of (a² − 2 φ a b + b²), with a and b the sides of the two intervals over images on which
    they move apart. φ is the correlation of the two accuracies: 0 if no unit has images in both, else that of the
    units' residuals. For several seeds it is over these too, see `study.compare.statistics.with_seeds`.
    Source: Newcombe 1998, Statistics in Medicine 17:873–890 (method 10) for φ = 0, and 17:2635–2650 for pairs; Zou &
    Donner 2008, Statistics in Medicine 27:1693–1702, for intervals other than Wilson's. The first is statsmodels'
    `confint_proportions_2indep(method="newcomb")`.
    """
    difference = one.accuracy - two.accuracy
    (low_one, high_one), (low_two, high_two) = one.over_images(confidence), two.over_images(confidence)
    phi = _correlation(one, two)

    def side(a: float, b: float) -> float:
        return math.sqrt(max(a**2 - 2 * phi * a * b + b**2, 0.0))

    below = side(one.accuracy - low_one, high_two - two.accuracy)
    above = side(high_one - one.accuracy, two.accuracy - low_two)
    over_images = difference - below, difference + above
    low, high = with_seeds(over_images, (one.of_seeds - two.of_seeds).tolist(), confidence)
    return max(low, -1.0), min(high, 1.0)


def p_value(one: Subset, two: Subset) -> float:
    """Two-sided p value of "the accuracy is the same on both": the larger of two.

    The one is the least α such that `difference_interval` with the confidence 1 − α is without 0, from `LEAST_P` on. It
    knows of groups and seeds, but for few images at the small α of Holm's correction such intervals miss several times
    as often as they say. The other is Fisher's exact test of the images (Fisher 1935, The Design of Experiments;
    `scipy.stats.fisher_exact`), of several seeds with the mean number of right ones, which errs at most as often as it
    says where images are independent.
    """
    right = [round(some.accuracy * some.correct.shape[1]) for some in (one, two)]
    wrong = [some.correct.shape[1] - n for some, n in zip((one, two), right, strict=True)]
    return max(float(fisher_exact([right, wrong]).pvalue), _p_of_interval(one, two))


def _p_of_interval(one: Subset, two: Subset) -> float:
    difference = one.accuracy - two.accuracy

    def beyond(log_p: float) -> float:
        low, high = difference_interval(one, two, 1 - math.exp(log_p))
        return high if difference < 0 else -low

    ends = math.log(LEAST_P), math.log(MOST_P)
    if difference == 0 or beyond(ends[1]) >= 0:
        return 1.0
    return LEAST_P if beyond(ends[0]) <= 0 else math.exp(brentq(beyond, *ends, xtol=1e-9))


def _correlation(one: Subset, two: Subset) -> float:
    """Of the two accuracies, by the units that have images in both."""
    if one.units is None or two.units is None:
        return 0.0
    units = int(max(one.units.max(), two.units.max())) + 1
    a, b = (
        np.bincount(some.units, some.correct.mean(axis=0) - some.accuracy, minlength=units)
        for some in (one, two)
        if some.units is not None
    )
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale else 0.0


def _rows(group: RecipeRuns, column: Column, units: Units | None, confidence: float) -> Iterator[dict[str, Any]]:
    """A row for each value that test images have."""
    correct = np.array([run.correct for run in group])
    balanced, balanced_rest = _balanced(group, column)
    known = column.codes >= 0
    for k, value in enumerate(column.categories):
        inside = column.codes == k
        if not inside.any():
            continue
        one, two = (
            Subset(correct[:, some], None if units is None else units[some]) for some in (inside, known & ~inside)
        )
        low, high = one.interval(confidence)
        ends = difference_interval(one, two, confidence)
        yield {
            "experiment": group.name,
            "seed": EVERY_SEED if group.several_seeds else str(group.first.seed),
            "column": column.name,
            "value": value,
            "images": int(inside.sum()),
            "units": one.independent,
            "accuracy": one.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "balanced_accuracy": balanced[k],
            "rest_images": int(known.sum() - inside.sum()),
            "rest_accuracy": two.accuracy,
            "rest_balanced_accuracy": balanced_rest[k],
            "difference": one.accuracy - two.accuracy,
            "difference_low": ends[0],
            "difference_high": ends[1],
            "verdict": "",
            "left_out": "",
            "subsets": (one, two),
        }


def _balanced(group: RecipeRuns, column: Column) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean recall of the classes with an image, the mean over seeds: on the images of each value, and on the rest."""
    known, values, classes = column.codes >= 0, len(column.categories), len(group.first.classes)

    def counted(some: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.int64]:
        cells = column.codes[some] * classes + labels[some]
        return np.bincount(cells, minlength=values * classes).reshape(values, classes)

    labels = group.first.scores["test"].labels
    images = counted(known, labels)
    hits = np.mean([counted(known & run.correct, labels) for run in group], axis=0)
    return _mean_recall(hits, images), _mean_recall(hits.sum(axis=0) - hits, images.sum(axis=0) - images)


def _mean_recall(hits: NDArray[np.float64], images: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row, over the classes that have an image in it."""
    recall = np.divide(hits, images, out=np.zeros(images.shape), where=images > 0)
    present = (images > 0).sum(axis=1)
    return np.divide(recall.sum(axis=1), present, out=np.full(len(images), np.nan), where=present > 0)


def _judge(rows: Sequence[dict[str, Any]], columns: Sequence[Column], comparison: Comparison) -> None:
    """Add p_holm and verdict to the rows of the best recipe that can be tested."""
    sides = {column.name: len(np.unique(column.codes[column.codes >= 0])) for column in columns}
    tests: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if min(side.independent for side in row["subsets"]) >= FEWEST:
            tests.setdefault((row["column"], "" if sides[row["column"]] == 2 else row["value"]), []).append(row)
    p_values = holm([p_value(*same[0]["subsets"]) for same in tests.values()])
    for p, same in zip(p_values, tests.values(), strict=True):
        for row in same:
            sure = p <= 1 - comparison.confidence
            row |= {"p_holm": p, "verdict": NOT_DISTINGUISHABLE}
            if sure:
                row["verdict"] = HIGHER if row["difference"] > 0 else LOWER


def subgroup_facts(table: pd.DataFrame, experiment: str, confidence: float) -> list[str]:
    """On which subgroups a recipe is worse than on the rest of the test images, as a sentence; [] if on none.

    Args:
        table: as `subgroups` makes it, with the tests of this recipe.
    """
    rows = table[(table["experiment"] == experiment) & (table["verdict"] == LOWER)]
    worse = rows.sort_values("difference", kind="stable").to_dict("records")
    if not worse:
        return []
    more = f" and {len(worse) - NAMED:,} more" if len(worse) > NAMED else ""
    return [
        f"Not alike on all images: {experiment} is worse on those with {'; '.join(map(_worse, worse[:NAMED]))}{more} "
        f"(Holm's correction over all subgroups, {level(confidence)} intervals)."
    ]


def _worse(row: Mapping[Any, Any]) -> str:
    difference, low, high = (signed(row[name]) for name in ("difference", "difference_low", "difference_high"))
    return (
        f"{row['column']} '{row['value']}' ({row['accuracy']:.1%} of {row['images']:,.0f} right, "
        f"{row['rest_accuracy']:.1%} of the others: {difference} points, {low} to {high})"
    )
