"""Images that need no fetching: scikit-learn's handwritten digits, made imbalanced."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from study.data.data_settings import DIGITS, DataSettings
from study.data.decode import FULL_DEPTH, Picture
from study.data.folder_tree import Entry

HELD_OUT = {"test": 0.3, "val": 0.15}  # shares of a class before thinning
SEED = 0  # of the choice of digits; not the study's seed, so that every study sees the same images


def recognises(source: str) -> bool:
    """Whether it is the word, even where a file has the same name."""
    return source == DIGITS


class DigitsSource:
    """8×8 gray images, thinned to a long tail: class k of K keeps n·r^(−k/(K−1)), r being `data.digits_imbalance`.

    n is the size of the smallest class before thinning, so that the largest class over the smallest is r but for
    rounding. `digit_<n>` is image n of `load_digits`. With `data.digits_tail: train`, n·`HELD_OUT` images of every
    class are set aside for validation and test, and the rest is thinned.
    """

    def __init__(self, data: DataSettings) -> None:
        from sklearn.datasets import load_digits  # slow to load, and no other source needs it

        digits = load_digits()
        self.ignored: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self.columns: Mapping[str, Sequence[str]] = {}
        self.pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # from 0…16
        smallest = np.bincount(digits.target).min()
        shares = data.digits_imbalance ** -np.linspace(0, 1, len(digits.target_names))
        rng = np.random.default_rng(SEED)
        self.entries = []
        for label, share in enumerate(shares):
            indices = rng.permutation(np.flatnonzero(digits.target == label))
            held_out = HELD_OUT if data.digits_tail == "train" else {}
            ends = np.cumsum([0, *(round(smallest * part) for part in held_out.values())])
            parts = {split: indices[a:b] for split, a, b in zip(held_out, ends[:-1], ends[1:], strict=True)}
            parts["train" if held_out else ""] = indices[ends[-1] :][: round((smallest - ends[-1]) * share)]
            self.entries += [Entry(f"digit_{i}", str(label), split) for split, part in parts.items() for i in part]
        self.entries.sort(key=lambda entry: entry.image_id)

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        return Picture(Image.fromarray(self.pixels[int(image_id.removeprefix("digit_"))]), "L")
