"""How long looking for near copies takes, what it finds, and pairs side by side to choose a threshold by.

    python -m benchmarks.near_copies --sizes 10000 20000 40000 --source resources/fer2013.zip --name near-copies
    python -m benchmarks.near_copies --source resources/fer2013.zip --sheet pairs.png

Every pair of images is compared, so that time grows with the square of their number; the record says what the largest
size comes to for a million. Made-up images have the spectrum of photographs and no copies.

Entry points:
    made_up(count) -> int8 array                           details of different images
    details_in(source, size) -> (hashes, details, …)       of the images of a source
    timed(sha256, details, threshold, workers)             a row of the record
    sheet(pairs, pixels, path)                             a picture of pairs, a row for each band of correlation
"""

import argparse
import os
import resource
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image, ImageDraw

from benchmarks import ROOT
from benchmarks.contenders import available_cores
from benchmarks.record import origin, write_record
from study.data.data_settings import DataSettings
from study.data.decode import pixels_sha256, resize
from study.data.near_copies import SIDE, details_of, near_copies, near_groups
from study.data.sources import open_source
from study.errors import StudyError
from study.provenance import processor
from study.settings import FETCH_ONLY

AT_ONCE = 1024  # made-up images
BANDS = (0.80, 0.84, 0.86, 0.88, 0.90, 0.93, 0.96, 1.01)  # of correlation, on the sheet
SHOWN, SHOWN_SIDE = 12, 96  # pairs of a band, and their pixels

Pixels = Callable[[str], np.ndarray]


def made_up(count: int, seed: int = 0) -> np.ndarray:
    """Details int8 (count, SIDE, SIDE) of random pictures, whose amplitude falls with 1/f (Field 1987)."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(2 * SIDE), np.fft.rfftfreq(2 * SIDE), indexing="ij"))
    amplitude = 1 / np.maximum(frequency, 1 / (2 * SIDE))
    details = np.empty((count, SIDE, SIDE), np.int8)
    for start in range(0, count, AT_ONCE):
        noise = np.fft.rfft2(random.normal(size=(min(AT_ONCE, count - start), 2 * SIDE, 2 * SIDE)))
        pictures = np.fft.irfft2(noise * amplitude)
        pictures = 128 + 50 * pictures / pictures.std(axis=(1, 2), keepdims=True)
        for number, picture in enumerate(np.clip(pictures, 0, 255).astype(np.uint8), start):
            details[number] = details_of(picture[None])
    return details


def details_in(source: str, size: int) -> tuple[pd.Series, np.ndarray, Pixels, float]:
    """Hashes and details of the images of a source, stored with so many pixels, and seconds of `details_of` in all.

    Also returns what gives the pixels of a hash.
    """
    section = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))["data"]
    settings = {name: value for name, value in section.items() if name not in FETCH_ONLY["data"]}
    opened = open_source(DataSettings(**settings | {"source": source, "image_size": size}))

    def read(image_id: str) -> np.ndarray:
        image = opened.read(image_id).image
        return resize(image, size, 1 if image.mode == "L" else 3)

    hashes, ids, seconds = [], {}, 0.0
    details = np.empty((len(opened.entries), SIDE, SIDE), np.int8)
    for number, entry in enumerate(opened.entries):
        pixels = read(entry.image_id)
        start = time.perf_counter()
        details[number] = details_of(pixels)
        seconds += time.perf_counter() - start
        hashes.append(pixels_sha256(pixels))
        ids[hashes[-1]] = entry.image_id
    return pd.Series(hashes), details, lambda sha256: read(ids[sha256]), seconds


def timed(
    sha256: pd.Series, details: np.ndarray, threshold: float, workers: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Seconds, pairs a second and what is found, as a row of the record; and the pairs found.

    Peak memory is that of the process so far.
    """
    start, processor_start = time.perf_counter(), time.process_time()
    pairs = near_copies(sha256, details, threshold, workers)
    seconds = time.perf_counter() - start
    distinct = sha256.nunique()
    groups = near_groups(sha256, pairs)
    row = {
        "images": len(sha256),
        "distinct": distinct,
        "seconds": seconds,
        "processor_seconds": time.process_time() - processor_start,
        "pairs_per_second": distinct * (distinct - 1) / 2 / seconds,
        "pairs": len(pairs),
        "mirrored": int(pairs["mirrored"].sum()),
        "in_groups": int((groups != "").sum()),
        "groups": groups[groups != ""].nunique(),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    return row, pairs


def sheet(pairs: pd.DataFrame, pixels: Pixels, path: Path, seed: int = 0) -> None:
    """Random pairs side by side with their correlation, a row for each of BANDS that has any."""
    bands = pairs.assign(band=pd.cut(pairs["correlation"], BANDS, right=False)).groupby("band", observed=True)
    across, down = 2 * SHOWN_SIDE + 8, SHOWN_SIDE + 16
    picture = Image.new("RGB", (SHOWN * across, bands.ngroups * down), "white")
    draw = ImageDraw.Draw(picture)
    for line, (_, band) in enumerate(bands):
        some = band.sample(min(SHOWN, len(band)), random_state=seed)
        for place, pair in enumerate(some.itertuples()):
            left, top = place * across, line * down
            for number, sha256 in enumerate((pair.first, pair.second)):
                shown = pixels(sha256)
                image = Image.fromarray(shown[0] if len(shown) == 1 else shown.transpose(1, 2, 0))
                picture.paste(image.resize((SHOWN_SIDE, SHOWN_SIDE)).convert("RGB"), (left + number * SHOWN_SIDE, top))
            mark = f"{pair.correlation:.3f}{' mirrored' * pair.mirrored} (of {len(band):,})"
            draw.text((left, top + SHOWN_SIDE + 2), mark, fill="black")
    picture.save(path)


def arguments(text: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="numbers of made-up images, rising")
    parser.add_argument("--source", help="a source of images, as data.source names it")
    parser.add_argument("--image-size", type=int, default=48, help="pixels that its images are stored with")
    parser.add_argument("--threshold", type=float, default=0.86, help="as data.near_duplicates")
    parser.add_argument("--sheet", type=Path, help="PNG to be written, with pairs found in the source")
    parser.add_argument("--workers", type=int, default=available_cores(), help="threads")
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    given = parser.parse_args(text)
    given.shown = list(text)
    return given


def main(given: argparse.Namespace) -> None:
    """Measure, print, and write what was asked for."""
    load, rows = os.getloadavg()[0], []
    for size in given.sizes:
        hashes = pd.Series([f"{number:x}" for number in range(size)])
        row, _ = timed(hashes, made_up(size), given.threshold, given.workers)
        rows.append({"source": "made-up images", **row})
        print(rows[-1])
    if given.source:
        hashes, details, pixels, seconds = details_in(given.source, given.image_size)
        row, pairs = timed(hashes, details, given.threshold, given.workers)
        rows.append({"source": Path(given.source).name, "details_seconds": seconds, **row})
        print(rows[-1])
        if given.sheet:
            sheet(pairs, pixels, given.sheet)
    write_record(
        given.name,
        {
            "kind": "near_copies",
            "name": given.name,
            "device": processor(),
            "load": load,
            "workers": given.workers,
            "threshold": given.threshold,
            "command": shlex.join(["python", "-m", "benchmarks.near_copies", *given.shown]),
            **origin(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    try:
        main(arguments(sys.argv[1:]))
    except StudyError as error:
        sys.exit(f"Error: {error}")
