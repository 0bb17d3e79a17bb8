"""Near copies are found whatever was done to a picture, other pictures are not, and the search misses no pair."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from example_images import photographs
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from scipy.stats import pearsonr
from sklearn.datasets import load_digits

from study.data import near_copies as module
from study.data.near_copies import PAIR_COLUMNS, details_of, near_copies, near_groups, near_pairs
from study.errors import StudyError

THRESHOLD = 0.86  # of config/fer2013.yaml
SIDE = 48


def recompressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


def shifted(picture: Image.Image, right: int, down: int) -> Image.Image:
    """Moved, as if cut from a larger one: what comes in at the edge is what was there."""
    edges = np.pad(np.asarray(picture), ((2, 2), (2, 2), (0, 0)), mode="edge")
    return Image.fromarray(edges[2 - down : 2 - down + SIDE, 2 - right : 2 - right + SIDE])


def watermarked(picture: Image.Image) -> Image.Image:
    """The name of an agency across the picture, as FER2013 has it: letters through which it can be seen."""
    marked = picture.copy()
    ImageDraw.Draw(marked).text((2, 18), "shutter", fill="white")
    return Image.blend(picture, marked, 0.3)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": recompressed,
    "smaller": lambda picture: picture.resize((30, 30), Image.Resampling.BICUBIC),
    "larger": lambda picture: picture.resize((97, 97), Image.Resampling.BICUBIC),
    "moved by a pixel": lambda picture: shifted(picture, 1, 0),
    "moved by two pixels": lambda picture: shifted(picture, -2, 2),
    "mirrored": ImageOps.mirror,
    "mirrored and moved": lambda picture: shifted(ImageOps.mirror(picture), 1, -1),
    "watermarked": watermarked,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.5),
    "gray": lambda picture: picture.convert("L"),
}


def stored(picture: Image.Image) -> np.ndarray:
    """uint8 (channels, SIDE, SIDE), as `study.data.decode.resize` packs it."""
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def details(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([details_of(stored(picture)) for picture in pictures])


@pytest.fixture(scope="module")
def originals() -> list[Image.Image]:
    """Those in focus: where little can be seen, a watermark is most of it."""
    pictures = [picture for picture in photographs(SIDE) if details_of(stored(picture)).std() > 26]
    assert len(pictures) >= 15
    return pictures


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_found_and_no_other(originals: list[Image.Image], change: str) -> None:
    count = len(originals)
    changed = [CHANGES[change](picture) for picture in originals]
    pairs = near_pairs(details([*originals, *changed]), THRESHOLD, workers=2)
    assert list(pairs.columns) == PAIR_COLUMNS
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(k, count + k) for k in range(count)]
    assert (pairs["mirrored"] == ("mirrored" in change)).all()


def test_different_pictures_of_one_class_are_none() -> None:
    """Handwritten digits, as many of one class as there are; of 8 pixels they are coarse, so that some are alike."""
    digits = load_digits()
    ones = [Image.fromarray((picture * 15.9).astype(np.uint8)) for picture in digits.images[digits.target == 4]]
    pairs = near_pairs(details(ones), 0.97, workers=1)
    assert len(pairs) < len(ones) / 20


def test_flat_pictures_are_left_out() -> None:
    flat = [Image.new("L", (SIDE, SIDE), 90), Image.new("L", (SIDE, SIDE), 90), Image.new("RGB", (SIDE, SIDE), "red")]
    assert not details(flat).any()
    assert near_pairs(details(flat), THRESHOLD, workers=1).empty
    assert near_pairs(details(flat)[:0], THRESHOLD, workers=1).empty


def alike(seed: int, kinds: int = 40, of_each: int = 5) -> np.ndarray:
    """Random details int8 of several kinds, those of a kind alike to various degrees."""
    random = np.random.default_rng(seed)
    kind = random.normal(0, 40, (kinds, 1, module.SIDE, module.SIDE))
    own = random.normal(0, 40, (kinds, of_each, module.SIDE, module.SIDE)) * random.uniform(
        0, 1.5, (kinds, of_each, 1, 1)
    )
    return np.clip(kind + own, -127, 127).astype(np.int8).reshape(-1, module.SIDE, module.SIDE)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_misses_no_pair(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all products of all alignments; in several blocks, and with a bound of few components."""
    monkeypatch.setattr(module, "ROWS", 64)
    monkeypatch.setattr(module, "CAPTURED", (0.2, 0.5, 0.9)[seed])
    pictures = module._Pictures(alike(seed), np.arange(200))
    everyone = np.arange(200)
    expected = set()
    for alignment in module.ALIGNMENTS:
        products = pictures.units(everyone) @ pictures.units(everyone, alignment).T
        bounds = pictures.bounding() @ pictures.bounding(alignment).T
        assert (bounds >= products - 1e-5).all()
        first, second = np.nonzero(np.triu(products >= module.CANDIDATE * 0.6, 1))
        expected |= {(int(a), int(b), alignment[0]) for a, b in zip(first, second, strict=True)}
    with module.ThreadPoolExecutor(2) as pool:
        found = module._candidates(pictures, 0.6, pool)
    assert len(expected) > 50
    assert set(map(tuple, found.tolist())) == expected


def test_the_correlation_is_pearsons_at_the_best_move(originals: list[Image.Image]) -> None:
    some = details([originals[0], shifted(originals[0], 2, 1), originals[1], ImageOps.mirror(originals[0])])
    pairs = pd.DataFrame({"first": [0, 0, 0], "second": [1, 2, 3], "mirrored": [False, False, True]})
    found = module._correlations(some, pairs)
    large = np.stack(
        [np.asarray(Image.fromarray(one.astype(np.float32)).resize((48, 48), Image.BICUBIC)) for one in some]
    )
    for row, pair in enumerate(pairs.itertuples()):
        one, other = large[pair.first], large[pair.second][:, :: -1 if pair.mirrored else 1]
        moves = [
            pearsonr(one[2 + a : 46 + a, 2 + b : 46 + b].ravel(), other[2:46, 2:46].ravel()).statistic
            for a in range(-2, 3) for b in range(-2, 3)
        ]  # fmt: skip
        assert found[row] == pytest.approx(max(moves), abs=0.06)  # another bicubic filter, and less of the edges
    assert found[0] > 0.95 > 0.5 > found[1]
    assert found[2] > 0.999


def test_pairs_depend_neither_on_threads_nor_on_the_order(originals: list[Image.Image]) -> None:
    some = details([*originals, *(CHANGES["smaller"](picture) for picture in originals)])
    hashes = pd.Series([f"{row:064d}" for row in range(len(some))])
    one = near_copies(hashes, some, THRESHOLD, workers=1)
    pd.testing.assert_frame_equal(one, near_copies(hashes, some, THRESHOLD, workers=3))
    order = np.random.default_rng(0).permutation(len(some))
    other = near_copies(hashes[order].reset_index(drop=True), some[order], THRESHOLD, workers=2)
    assert {frozenset(ends) for ends in zip(one["first"], one["second"], strict=True)} == {
        frozenset(ends) for ends in zip(other["first"], other["second"], strict=True)
    }


def test_chains_are_groups_and_exact_copies_go_with_them() -> None:
    hashes = pd.Series(["d", "a", "", "b", "c", "a", "e", "f"])
    pairs = pd.DataFrame({"first": ["a", "b", "e"], "second": ["b", "c", "f"]})
    assert list(near_groups(hashes, pairs)) == ["", "1", "", "1", "1", "1", "2", "2"]
    assert list(near_groups(hashes, pairs[:0])) == [""] * 8


def test_each_picture_is_looked_at_once(originals: list[Image.Image]) -> None:
    some = details([originals[0], originals[0], originals[1], CHANGES["recompressed"](originals[0])])
    pairs = near_copies(pd.Series(["x", "x", "", "y"]), some, THRESHOLD, workers=1)
    assert pairs[["first", "second"]].to_numpy().tolist() == [["x", "y"]]


def test_pictures_that_are_all_alike_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PER_IMAGE", 2)
    monkeypatch.setattr(module, "ALWAYS_ALLOWED", 10)
    with pytest.raises(StudyError, match=r"data\.near_duplicates: at 0\.5 more than 400 pairs of 200 pictures come"):
        near_pairs(alike(0, kinds=1, of_each=200), 0.5, workers=1)
