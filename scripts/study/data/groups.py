"""Images that belong together (copies of a picture, the pictures of a patient), and their division among splits.

Entry points:
    joined(*partitions) -> Series                          a number for all that any of the partitions joins
    divide(labels, units, fractions, seed) -> Series       a part for every image: whole units, classes in proportion
    torn(groups, splits) -> Series                         which images are of a group with images in several splits
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

EMPTY = 1e9  # what a class without an image in a part costs: more than any χ²
ROUNDS = 20  # of moves; two or three are what collections take


def joined(*partitions: pd.Series) -> pd.Series:
    """Units: images are in one if a chain of partitions joins them, each of which joins equal values.

    Connected components of the graph of images and values (`scipy.sparse.csgraph.connected_components`).

    Args:
        partitions: a value per image, the same index in all of them.

    Returns:
        the number of the unit, from 0 in the order of first appearance.
    """
    images = len(partitions[0])
    ends, values = [], 0
    for partition in partitions:
        codes, names = pd.factorize(partition)
        ends.append(codes + images + values)
        values += len(names)
    every = np.tile(np.arange(images), len(partitions))
    edges = coo_array((np.ones(len(every), np.int8), (every, np.concatenate(ends))), shape=(images + values,) * 2)
    _, components = connected_components(edges, directed=False)
    return pd.Series(pd.factorize(components[:images])[0], index=partitions[0].index)


def torn(groups: pd.Series, splits: pd.Series) -> pd.Series:
    """Whether each image is of a group with images in several splits (bool); "" is no group, and no split."""
    counted = (groups != "") & (splits != "")
    several = splits[counted].groupby(groups[counted]).transform("nunique") > 1
    return several.reindex(groups.index, fill_value=False)


def divide(labels: pd.Series, units: pd.Series, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """A part for every image: units stay whole, and every class is divided by the fractions as well as they allow.

    What is made small is Pearson's χ² between the images that the parts have of each class and those that they are to
    have. Units are dealt from the largest to the smallest, in random order among equals, each to the part where χ²
    falls most. Then units move to another part as long as that lowers χ² or gives a part its first image of a class.
    It comes nearer to the wish than equal folds of `sklearn.model_selection.StratifiedGroupKFold`, several of them put
    together: tests/unit/data/test_groups.py.

    Args:
        labels: class of each image.
        units: what an image belongs to; any value, the same index.
        fractions: part -> its share, above 0; together 1.
        seed: of the order of equal units.
    """
    unit, _ = pd.factorize(units)
    label, classes = pd.factorize(labels, sort=True)
    contents = _contents(unit, label, len(classes))
    sizes = np.bincount(unit)
    mixed = np.random.default_rng(seed).permutation(len(sizes))
    order = mixed[np.argsort(-sizes[mixed], kind="stable")].tolist()
    parts = _Parts(np.outer(list(fractions.values()), np.bincount(label)))
    place = [0] * len(order)
    for number in order:
        place[number] = parts.best(contents[number])
        parts.add(place[number], contents[number])
    for _ in range(ROUNDS):
        if not _moved(parts, order, contents, place):
            break
    return pd.Series(np.array(list(fractions))[np.array(place)[unit]], index=labels.index)


Contents = Sequence[tuple[int, int]]  # (class, images of it) of a unit


def _contents(unit: np.ndarray, label: np.ndarray, classes: int) -> list[list[tuple[int, int]]]:
    """What each unit holds."""
    cells, counts = np.unique(unit * classes + label, return_counts=True)
    contents: list[list[tuple[int, int]]] = [[] for _ in range(unit.max() + 1)]
    for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
        contents[cell // classes].append((cell % classes, count))
    return contents


class _Parts:
    """Images that each part has of each class, beside those that it is to have.

    Args:
        wished: (parts, classes), all above 0.
    """

    def __init__(self, wished: np.ndarray) -> None:
        self.wished: list[list[float]] = wished.tolist()
        self.have = [[0] * wished.shape[1] for _ in wished]

    def add(self, part: int, contents: Contents, sign: int = 1) -> None:
        """Put a unit into a part; with sign −1 take it out."""
        for k, n in contents:
            self.have[part][k] += sign * n

    def best(self, contents: Contents, empty: float = 0.0) -> int:
        """The part in which a unit raises χ² least; `empty` is what a class without an image in a part costs."""
        costs = [self._cost(part, contents, empty) for part in range(len(self.have))]
        return costs.index(min(costs))

    def _cost(self, part: int, contents: Contents, empty: float) -> float:
        have, wished = self.have[part], self.wished[part]
        risen = sum(n * (2 * (have[k] - wished[k]) + n) / wished[k] for k, n in contents)
        return risen - empty * sum(have[k] == 0 for k, _ in contents)


def _moved(parts: _Parts, order: Sequence[int], contents: Sequence[Contents], place: list[int]) -> bool:
    """Move every unit that is better in another part; whether there was one. `place` has the parts of the units."""
    before = list(place)
    for number in order:
        parts.add(place[number], contents[number], -1)
        place[number] = parts.best(contents[number], EMPTY)
        parts.add(place[number], contents[number])
    return place != before
