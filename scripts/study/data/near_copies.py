"""Pictures that are near copies: recompressed, resized, moved by a little, mirrored, watermarked, brighter, in gray.

What is compared are details, without what is coarse: most faces are bright in the middle, and correlate for that.
Details are a thumbnail less its surroundings, divided by the contrast around each pixel, so that brightness does not
count and a watermark no more than the place it takes: what SSIM calls structure (Wang et al. 2004), of one band of
frequencies (a difference of Gaussians). The correlation of two pictures is Pearson's of their details, the largest over
moves by up to 1/24 of the side and over mirroring one of them.

Pairs that come into question are found exactly, by products of matrices: over the first principal components of the
details and the norm of what is left, which can be no smaller than the product of all (Cauchy and Schwarz). What that
costs: benchmarks/near_copies.py.

Entry points:
    details_of(pixels) -> int8 array                                what is kept of an image
    near_copies(sha256, details, threshold, workers) -> DataFrame   pairs of different pictures and their correlation
    near_groups(sha256, pairs) -> Series                            a number for all that pairs join
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter1d, shift, zoom
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from study.errors import StudyError
from study.progress import progress

SIDE = 24  # pixels of a thumbnail
FINE, COARSE, AROUND = 0.8, 1.6, 3.0  # standard deviations in pixels: the band of the details, and their surroundings
FAINT = 2.0  # gray levels of contrast that count little: what compression leaves in flat places
FLAT = 1.0  # gray levels: a picture whose details vary less is left out
LEVEL = 40  # of int8 for a detail of the contrast around it

CAPTURED = 0.85  # of the variance of details, by the principal components that a product is over
SAMPLE = 20_000  # images that these are computed from
CANDIDATE = 0.8  # of the threshold that a pair reaches at one of ALIGNMENTS to be looked at
# (mirrored, down, right) in half pixels of the thumbnail; the moves are within half a pixel of every one by SHIFTS
ALIGNMENTS = [(mirrored, *move) for mirrored in (0, 1) for move in ((0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))]
SHIFTS = range(-2, 3)  # half pixels of the thumbnail, in both directions, at which candidates are compared
MOST_PER_IMAGE, ALWAYS_ALLOWED = 100, 10**6  # candidates; more mean a threshold too low for such pictures
ROUNDING = 1e-4  # of products in float32
DECIMALS = 4  # of a correlation
ROWS = 1024  # of a block of products
PAIRS, PRODUCTS = 128, 16_384  # pairs that are compared at one time, at all moves and at one

# Filters as matrices that multiply a thumbnail's rows, or its columns.
GAUSSIANS = [
    gaussian_filter1d(np.eye(SIDE, dtype=np.float32), sigma, axis=0, mode="nearest") for sigma in (FINE, COARSE, AROUND)
]
MOVED = {move: shift(np.eye(SIDE), (move / 2, 0), order=1, mode="nearest").astype(np.float32) for move in (-1, 0, 1)}
DOUBLED = zoom(np.eye(SIDE), (2, 1), order=3, mode="nearest", grid_mode=True).astype(np.float32)

PAIR_COLUMNS = ["first", "second", "correlation", "mirrored"]


def details_of(pixels: np.ndarray) -> np.ndarray:
    """The details of an image, int8 (SIDE, SIDE); all 0 if it is nearly flat.

    Args:
        pixels: uint8 (1 or 3, S, S).
    """
    image = Image.fromarray(pixels[0]) if len(pixels) == 1 else Image.fromarray(pixels.transpose(1, 2, 0)).convert("L")
    thumbnail = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    fine, coarse, around = GAUSSIANS
    band = fine @ thumbnail @ fine.T - coarse @ thumbnail @ coarse.T
    if band.std() < FLAT:
        return np.zeros((SIDE, SIDE), np.int8)
    contrast = np.sqrt(around @ (band * band) @ around.T + FAINT**2)
    return np.clip(np.rint(LEVEL * band / contrast), -127, 127).astype(np.int8)


def near_copies(sha256: pd.Series, details: np.ndarray, threshold: float, workers: int) -> pd.DataFrame:
    """What `near_pairs` finds among pictures, each looked at once however many exact copies it has.

    Args:
        sha256: hash of each image; "" for one that could not be read.
        details: int8 (N, SIDE, SIDE), in the same order.

    Returns:
        PAIR_COLUMNS, with the hashes of two pictures as first and second.
    """
    rows = np.flatnonzero((sha256 != "") & ~sha256.duplicated())
    pairs = near_pairs(details, threshold, workers, rows)
    return pairs.assign(**{end: sha256.iloc[pairs[end]].astype("str").array for end in ("first", "second")})


def near_groups(sha256: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """A number from 1, as text, for all images that a chain of near copies joins, by first appearance; "" for others.

    Exact copies of one of them are of the group too.

    Args:
        sha256: hash of each image.
        pairs: of `near_copies`.
    """
    if pairs.empty:
        return pd.Series("", index=sha256.index, dtype="str")
    hashes = pd.unique(pd.concat([pairs["first"], pairs["second"]]))
    ends = [pd.Index(hashes).get_indexer(pairs[end]) for end in ("first", "second")]
    graph = coo_array((np.ones(len(pairs), np.int8), tuple(ends)), shape=(len(hashes),) * 2)
    _, components = connected_components(graph, directed=False)
    component = sha256.map(pd.Series(components, index=hashes)).dropna()
    numbers = pd.Series(pd.factorize(component)[0] + 1, index=component.index).astype("str")
    return numbers.reindex(sha256.index, fill_value="")


def near_pairs(details: np.ndarray, threshold: float, workers: int, rows: np.ndarray | None = None) -> pd.DataFrame:
    """All pairs of images whose details correlate.

    Args:
        details: int8 (N, SIDE, SIDE), of `details_of`.
        threshold: correlation, above 0 and at most 1.
        workers: threads.
        rows: which images are compared, rising; all without it.

    Returns:
        PAIR_COLUMNS: rows of `details`, first < second; the correlation at the best move, at least the threshold
        (DECIMALS); whether one of them is mirrored (bool). A pair has one row. Sorted by first and second.

    Raises:
        StudyError: so many candidates that the threshold cannot tell copies from other pictures.
    """
    rows = np.arange(len(details)) if rows is None else rows
    rows = rows[np.asarray(details.any(axis=(1, 2)))[rows]]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        candidates = _candidates(_Pictures(details, rows), threshold, pool)
        pairs = pd.DataFrame(rows[candidates[:, :2]], columns=PAIR_COLUMNS[:2])
        pairs["mirrored"] = candidates[:, 2] > 0
        parts = [pairs.iloc[start : start + PAIRS] for start in range(0, len(pairs), PAIRS)]
        found = list(pool.map(lambda part: _correlations(details, part), parts))
    correlation = np.concatenate(found, dtype=np.float64) if found else np.empty(0)
    pairs["correlation"] = correlation.round(DECIMALS)
    pairs = pairs[pairs["correlation"] >= threshold].sort_values("correlation", ascending=False, kind="stable")
    pairs = pairs.drop_duplicates(["first", "second"]).sort_values(["first", "second"], ignore_index=True)
    return pairs[PAIR_COLUMNS]


class _Pictures:
    """The images that are compared, of which only blocks are made numbers of 32 bits.

    Args:
        details: int8 (N, SIDE, SIDE).
        rows: of the images, none of them flat.
    """

    def __init__(self, details: np.ndarray, rows: np.ndarray) -> None:
        self.details, self.rows = details, rows
        sample = self.units(slice(None, None, -(-len(rows) // SAMPLE) or 1))
        variances, vectors = np.linalg.eigh(sample.T @ sample)
        left = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float32).tiny)  # rising
        self.basis = vectors[:, np.searchsorted(left, 1 - CAPTURED) :]  # the first principal components, of a sample

    def units(self, which: np.ndarray | slice, alignment: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
        """float32 (n, SIDE²) of mean 0 and norm 1, whose products are correlations; mirrored or not, then moved."""
        mirrored, down, right = alignment
        some = self.details[self.rows[which]].astype(np.float32)
        some = some[:, :, ::-1] if mirrored else some
        if down or right:
            some = MOVED[down] @ some @ MOVED[right].T
        flat = some.reshape(len(some), SIDE * SIDE)
        flat = flat - flat.mean(axis=1, keepdims=True)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def bounding(self, alignment: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
        """float32 (n, components + 1) whose products are no smaller than those of `units`."""
        bounding = np.empty((len(self.rows), self.basis.shape[1] + 1), np.float32)
        for start in range(0, len(self.rows), ROWS):
            units = self.units(slice(start, start + ROWS), alignment)
            near = units @ self.basis
            left = np.sqrt(np.maximum(np.square(units).sum(axis=1) - np.square(near).sum(axis=1), 0))
            bounding[start : start + ROWS] = np.column_stack([near, left])
        return bounding


def _candidates(pictures: _Pictures, threshold: float, pool: ThreadPoolExecutor) -> np.ndarray:
    """Pairs that reach CANDIDATE of the threshold at one of ALIGNMENTS: int64 first, second (of `rows`), mirrored."""
    count = len(pictures.rows)
    found, starts = [np.empty((0, 3), np.int64)], range(0, count, ROWS)
    most, seen = max(MOST_PER_IMAGE * count, ALWAYS_ALLOWED), 0
    with progress("Looking for near copies", len(ALIGNMENTS) * len(starts)) as advance:
        for some in _blocks(pictures, CANDIDATE * threshold, pool.map, starts):
            advance(1)
            found.append(some)
            seen += len(some)
            if seen > most:
                raise StudyError(
                    f"config key data.near_duplicates: at {threshold:g} more than {most:,} pairs of {count:,} pictures "
                    "come into question, so these are too much alike for it; set it higher (at most 1), or to null"
                )
    return np.unique(np.concatenate(found), axis=0)


def _blocks(
    pictures: _Pictures, least: float, over: Callable[..., Iterator[np.ndarray]], starts: range
) -> Iterator[np.ndarray]:
    """The candidates of every alignment and block of rows."""
    first = pictures.bounding()
    for alignment in ALIGNMENTS:
        second = pictures.bounding(alignment)
        yield from over(partial(_reaching, pictures, first, second, alignment, least), starts)


def _reaching(
    pictures: _Pictures,
    first: np.ndarray,
    second: np.ndarray,
    alignment: tuple[int, int, int],
    least: float,
    start: int,
) -> np.ndarray:
    """Candidates among the images of one block of rows and those after them: first, second, mirrored."""
    some = [np.empty((0, 3), np.int64)]
    for other in range(start, len(second), ROWS):
        bounds = first[start : start + ROWS] @ second[other : other + ROWS].T
        rows, columns = np.divmod(np.flatnonzero(bounds >= least - ROUNDING), bounds.shape[1])
        rows, columns = rows + start, columns + other
        rows, columns = rows[columns > rows], columns[columns > rows]
        for part in range(0, len(rows), PRODUCTS):
            row, column = rows[part : part + PRODUCTS], columns[part : part + PRODUCTS]
            near = np.einsum("ij,ij->i", pictures.units(row), pictures.units(column, alignment)) >= least
            some.append(np.stack([row[near], column[near], np.full(near.sum(), alignment[0])], axis=1))
    return np.concatenate(some)


def _correlations(details: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Largest correlation of each pair over SHIFTS, of the parts that overlap, float32."""
    first, second = (DOUBLED @ details[pairs[end]].astype(np.float32) @ DOUBLED.T for end in ("first", "second"))
    mirrored = pairs["mirrored"].to_numpy()
    second[mirrored] = second[mirrored][:, :, ::-1]
    products = np.empty((len(pairs), len(SHIFTS), len(SHIFTS)), np.float32)
    for a, down in enumerate(SHIFTS):
        for b, right in enumerate(SHIFTS):
            here = first[:, _overlap(down), _overlap(right)]
            products[:, a, b] = np.einsum("nij,nij->n", here, second[:, _overlap(-down), _overlap(-right)])
    # sums over the same parts, of all shifts at once
    (sums, squares), (other_sums, other_squares) = (
        [masks @ some @ masks.T for some in (numbers, np.square(numbers))]
        for numbers, masks in ((first, OVERLAPS), (second, OVERLAPS[::-1]))
    )
    count = np.outer(OVERLAPS.sum(axis=1), OVERLAPS.sum(axis=1))
    variances = (squares - sums * sums / count) * (other_squares - other_sums * other_sums / count)
    scale = np.sqrt(np.maximum(variances, 0))
    correlation = np.divide(products - sums * other_sums / count, scale, out=np.zeros_like(scale), where=scale > 0)
    return correlation.max(axis=(1, 2))


def _overlap(move: int) -> slice:
    return slice(max(move, 0), 2 * SIDE + min(move, 0))


OVERLAPS = np.zeros((len(SHIFTS), 2 * SIDE), np.float32)  # 1 where a shift leaves a part of both pictures
for place, move in enumerate(SHIFTS):
    OVERLAPS[place, _overlap(move)] = 1
