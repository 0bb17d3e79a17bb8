"""How listing, splitting and packing grow with the number of images.

    python -m benchmarks.scale_images --sizes 36000 72000 144000 1000000 --name scale-images
    python -m benchmarks.scale_images --page          # docs/SCALE.md from that record

Made-up images go through the real rules `manifest` and `pack`, at several sizes in one run, so that rates are compared
on the machine as it was in that hour.

Entry points:
    write_zip(path, count, side)                           a zip of JPEG files, one folder per class
    write_csv(path, count)                                 FER2013's table
    preparation(folder, source, name, side, workers)       seconds and memory of both rules
    page(record, reading, speed) -> str                    docs/SCALE.md
    memory_of(processes) -> bytes                          what processes hold, without files that are mapped
"""

import argparse
import csv
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from scipy.stats import bootstrap

from benchmarks import ROOT
from benchmarks.contenders import available_cores
from benchmarks.pipeline import copy_pipeline, rule_seconds
from benchmarks.record import RESULTS, origin, write_record
from benchmarks.scale_reading import beside
from study.data.decode import decode, pixels_sha256, resize
from study.errors import StudyError
from study.provenance import processor

CLASSES = 100
DISTINCT = 1000  # pictures that the made-up images are variants of
COPIED_EVERY = 1000  # one image in so many repeats the file before it: the audit has to find these
BLOCK = 8  # pixels: a JPEG codes squares of this side, so a brighter one stays brighter
STAMP = 12  # gray levels by which a square is brighter for a 1 of the image's number
BITS = 24  # of that number
JPEG_QUALITY = 75
SECONDS_BETWEEN_SAMPLES = 0.2
TARGET_BYTES = 4 * 10**9
TARGET_READING = 0.97
SHARED_RATE = 0.9  # of the smallest size's: slower than that counts as another rate
# ILSVRC2012's training images (Russakovsky et al. 2015, IJCV, table 2), their average size, and how they are stored.
IMAGENET_IMAGES, IMAGENET_SIZE, IMAGENET_SIDE = 1_281_167, (500, 375), 224


def pictures(side: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures uint8 (DISTINCT, side, side, channels), from 4×4 random colours each."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (DISTINCT, 4, 4, 3), dtype=np.uint8)
    large = [Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC) for picture in coarse]
    pixels = np.stack([np.asarray(picture) for picture in large])
    return pixels if channels == 3 else pixels[..., :1]


def made_up(count: int, side: int, channels: int) -> Iterator[np.ndarray]:
    """Images uint8 (side, side, channels), no two alike: the number of each is written into squares of its picture."""
    base = pictures(side, channels)
    across = side // BLOCK
    for number in range(count):
        image = base[number % DISTINCT].copy()
        for bit in range(BITS):
            if number >> bit & 1:
                top, left = (BLOCK * place for place in divmod(bit, across))
                image[top : top + BLOCK, left : left + BLOCK] += STAMP
        yield image


def copies(count: int) -> int:
    """Pairs of exact copies among so many made-up images."""
    return (count - 1) // COPIED_EVERY


def _label(number: int) -> int:
    """The class of an image; both of a pair of copies have the same."""
    return (number - (number % COPIED_EVERY == 0 and number > 0)) % CLASSES


def write_zip(path: Path, count: int, side: int) -> None:
    """A zip of JPEG files in colour, in a folder for each of CLASSES classes, with `copies(count)` pairs of copies."""
    content = b""
    with zipfile.ZipFile(path, "w") as archive:
        for number, image in enumerate(made_up(count, side, 3)):
            if number % COPIED_EVERY or not number:
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
                content = buffer.getvalue()
            archive.writestr(f"class_{_label(number):03d}/image_{number:07d}.jpg", content)


def write_csv(path: Path, count: int) -> None:
    """FER2013's table of gray images of 48 pixels, with `copies(count)` pairs of copies."""
    cell = ""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for number, image in enumerate(made_up(count, 48, 1)):
            if number % COPIED_EVERY or not number:
                cell = " ".join(map(str, image.ravel().tolist()))
            writer.writerow([_label(number) % 7, cell, "Training"])


def memory_of(processes: Iterable[psutil.Process]) -> int:
    """Bytes in memory that belong to processes: RssAnon and RssShmem of /proc/PID/status, added up.

    Pages of files that are mapped (the packed arrays, libraries) are the kernel's to drop and do not count; memory that
    processes share counts once for each.
    """
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
    return total


class PeakMemory:
    """The largest `memory_of` the children of a process and theirs, looked at every SECONDS_BETWEEN_SAMPLES."""

    def __init__(self, pid: int) -> None:
        self.process, self.bytes, self.processes = psutil.Process(pid), 0, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.ended.wait(SECONDS_BETWEEN_SAMPLES):
            try:
                children = self.process.children(recursive=True)
            except psutil.NoSuchProcess:
                return
            if (found := memory_of(children)) > self.bytes:
                self.bytes, self.processes = found, len(children)

    def stop(self) -> int:
        self.ended.set()
        self.thread.join()
        return self.bytes


def preparation(folder: Path, source: Path, name: str, side: int, workers: int) -> dict[str, Any]:
    """Run the rules `manifest` and `pack` on a source; seconds of each job and peak memory of its processes.

    Args:
        folder: a copy of the pipeline.
        name: of the study.

    Returns:
        images, groups of copies that the audit found, kept images, seconds, bytes of memory and of files.
    """
    overlay = {
        "study": name,
        "data": {"source": str(source.resolve()), "image_size": side, "max_unpacked_bytes": 10**12},
        "resources": {"workers": workers},
    }
    (folder / f"config/{name}.json").write_text(json.dumps(overlay), encoding="utf-8")
    results = folder / f"results/{name}"
    memory = {
        rule: _watched(folder, workers, f"config/{name}.json", f"results/{name}/data/{file}")
        for rule, file in (("manifest", "manifest.csv"), ("pack", "pack.json"))
    }
    rules = rule_seconds(results / "benchmarks")
    audit = json.loads((results / "data/audit.json").read_text(encoding="utf-8"))
    row = {
        "name": name,
        "images": audit["source"]["images"],
        "duplicate_groups": audit["found"]["duplicate_groups"],
        "kept": audit["kept"]["images"],
        "source_bytes": source.stat().st_size,
        "manifest_bytes": (results / "data/manifest.csv").stat().st_size,
        "packed_bytes": sum(path.stat().st_size for path in (results / "data").glob("*.npy")),
        "seconds": {rule: rules[rule]["seconds"] for rule in memory},
        "peak_memory_bytes": memory,
    }
    told = ", ".join(
        f"{rule} {row['seconds'][rule]:.1f} s, {row['images'] / row['seconds'][rule]:,.0f} images/s, "
        f"{memory[rule] / 2**20:,.0f} MiB"
        for rule in memory
    )
    print(f"{name}: {row['images']:,} images: {told}", flush=True)
    return row


def _watched(folder: Path, workers: int, configuration: str, target: str) -> int:
    """Run Snakemake to make a file; the peak memory of its jobs' processes in bytes."""
    arguments = ["--cores", str(workers), "--resources", "gpu=1", "--configfile", configuration, "--", target]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        watched = PeakMemory(process.pid)
        output, _ = process.communicate()
        peak = watched.stop()
    if process.returncode:
        raise StudyError(f"snakemake {shlex.join(arguments)} failed:\n{output[-4000:]}")
    return peak


def seconds_of_large_image(repeats: int = 50) -> float:
    """Processor seconds to decode, resize and hash a JPEG of ImageNet's average size, in one process."""
    smooth = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(smooth).resize(IMAGENET_SIZE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    start = time.process_time()
    for _ in range(repeats):
        picture = decode(io.BytesIO(buffer.getvalue()), max_pixels=10**8)
        pixels_sha256(resize(picture.image, IMAGENET_SIDE, 3))
    return (time.process_time() - start) / repeats


def page(record: Mapping[str, Any], reading: Mapping[str, Any], speed: Mapping[str, Any]) -> str:
    """docs/SCALE.md.

    Args:
        record: what `main` measured.
        reading: the record of `benchmarks.scale_reading`.
        speed: the record of `benchmarks.speed` on a processor, for the seconds of an epoch.
    """
    rows = record["preparation"]
    lines = [
        "# How far it goes",
        "",
        "Written by `python -m benchmarks.scale_images --page` from `scale-images.json` and `scale-reading.json` in",
        "`benchmarks/results/`; no number is typed by hand.",
        "",
        "## Images",
        "",
        f"{_when(record)}; {record['device']},",
        f"{record['workers']} processes, load of the machine at the start {record['load']:.1f}.",
        "",
        f"    {record['command']}",
        "",
        f"Made-up JPEG files in colour, {record['side']} pixels, one zip for each size, {CLASSES} classes; one image",
        f"in {COPIED_EVERY:,} is a copy. Seconds are those of the rules' jobs. Memory is the peak of RssAnon +",
        f"RssShmem, added up over all processes of the job, looked at every {SECONDS_BETWEEN_SAMPLES} s; pages of the",
        "packed arrays, which the kernel may drop, do not count.",
        "",
        "| images | groups of copies (made, found) | manifest, images/s | memory | pack, images/s | memory | packed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [
            f"{row['images'] / row['seconds'][rule]:,.0f} | {row['peak_memory_bytes'][rule] / 1e9:.2f} GB"
            for rule in ("manifest", "pack")
        ]
        lines.append(
            f"| {row['images']:,} | {copies(row['images'])}, {row['duplicate_groups']} | {' | '.join(cells)} "
            f"| {row['packed_bytes'] / 1e9:.1f} GB |"
        )
    lines += ["", *(f"- {line}" for line in _growth(rows)), "", *_reading(reading), ""]
    return "\n".join([*lines, *_imagenet(record, speed)]) + "\n"


def _line(rows: Sequence[Mapping[str, Any]], rule: str) -> tuple[float, float]:
    """Bytes of memory as a line of the number of images, through the smallest and the largest size: slope, start."""
    first, last = rows[0], rows[-1]
    slope = (last["peak_memory_bytes"][rule] - first["peak_memory_bytes"][rule]) / (last["images"] - first["images"])
    return slope, first["peak_memory_bytes"][rule] - slope * first["images"]


def _growth(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first, last = rows[0], rows[-1]
    for rule in ("manifest", "pack"):
        ratio = (last["images"] / last["seconds"][rule]) / (first["images"] / first["seconds"][rule])
        slope, start = _line(rows, rule)
        million = start + 10**6 * slope
        within = ratio >= SHARED_RATE and million < TARGET_BYTES
        measured = last["images"] >= 10**6
        how = "measured" if measured else "calculated from that"
        reached = ("reached" if within else "missed") if measured else "open until a million are measured"
        yield (
            f"`{rule}`: {last['images']:,} images go at {ratio:.2f} of the rate of {first['images']:,}; each image "
            f"more takes {slope:,.0f} bytes of memory, a million {million / 1e9:.2f} GB ({how}; target: at the same "
            f"rate and under {TARGET_BYTES / 1e9:.0f} GB, {reached})"
        )


def _when(record: Mapping[str, Any]) -> str:
    dirty = " with uncommitted changes" if record["uncommitted_changes"] else ""
    return f"{record['date']}, commit {str(record['commit'])[:12]}{dirty}"


def _reading(record: Mapping[str, Any]) -> list[str]:
    """A training split that is read from its file, with the target."""
    found = {name: _median(beside(record["rates"], name)) for name in record["rates"]}
    reached = "reached" if found["cold"][0] >= TARGET_READING else "missed"
    said = {name: f"{middle:.3f} ({low:.3f} to {high:.3f})" for name, (middle, low, high) in found.items()}
    rounds = len(record["rates"]["cold"])
    return [
        "## A training split larger than memory",
        "",
        f"{_when(record)}; {record['device']}.",
        "",
        f"    {record['command']}",
        "",
        f"{record['images']:,} images ({record['bytes'] / 1e9:.1f} GB) in random order, {record['steps']} training",
        "steps at a time, over the rate from memory just before and after: median and its 95 % interval over",
        f"{rounds} rounds. The file is smaller than the machine's memory; its pages were dropped from the kernel's",
        "cache before every cold round instead, so that every image came from the disk.",
        "",
        f"- every page from the disk: {said['cold']}; target {TARGET_READING}: {reached}",
        f"- the file in the kernel's cache: {said['cached']}",
    ]


def _median(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and its 95 % interval by the bootstrap (scipy.stats.bootstrap, percentiles)."""
    drawn = bootstrap((values,), np.median, method="percentile", rng=np.random.default_rng(0))
    return float(np.median(values)), float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def _imagenet(record: Mapping[str, Any], speed: Mapping[str, Any]) -> list[str]:
    """What the measured numbers come to for ImageNet."""
    count, rows = IMAGENET_IMAGES, record["preparation"]
    packed = count * 3 * IMAGENET_SIDE**2
    memory = {rule: slope * count + start for rule in ("manifest", "pack") for slope, start in [_line(rows, rule)]}
    minutes = count * record["seconds_of_large_image"] / record["workers"] / 60
    ours = next(row for row in speed["summary"] if row["contender"] == "ours")
    rate = ours["images_per_second"] * (48 / IMAGENET_SIDE) ** 2
    return [
        f"## ImageNet: {count:,} images of {IMAGENET_SIDE} pixels, calculated",
        "",
        f"- On disk: {packed / 1e9:,.0f} GB packed (3 × {IMAGENET_SIDE}² bytes an image).",
        f"- To list and to pack: {minutes:,.0f} minutes each on {record['workers']} cores, from "
        f"{record['seconds_of_large_image'] * 1000:.1f} ms of one core to decode, resize and hash a JPEG of "
        f"{IMAGENET_SIZE[0]}×{IMAGENET_SIZE[1]} pixels, measured in the same run.",
        f"- Memory: {memory['manifest'] / 1e9:.1f} GB to list, {memory['pack'] / 1e9:.1f} GB to pack, from the table.",
        f"- An epoch on the CPU: {count / rate / 3600:,.0f} hours, from {ours['images_per_second']:.1f} images/s of 48 "
        f"pixels in {ours['precision']} (`benchmarks/results/{speed['name']}.json`, {speed['title']}) and sums in "
        "proportion to the pixels. So on a CPU nothing of this size is trained; it takes a GPU.",
        f"- A GPU would read {3 * IMAGENET_SIDE**2 / 1e6:.2f} MB an image from the file where it does not fit into "
        "memory: what the disk delivers at random is the limit then.",
    ]


def arguments(text: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[36_000, 144_000], help="numbers of images, rising")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes that decode")
    parser.add_argument("--folder", type=Path, help="where images and results go; a temporary one without it")
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    parser.add_argument("--page", action="store_true", help="only write docs/SCALE.md from the record")
    given = parser.parse_args(text)
    given.shown = list(text)
    return given


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The record, from files made in a folder."""
    pipeline = folder / "pipeline"
    pipeline.mkdir()
    copy_pipeline(pipeline)
    rows, load = [], os.getloadavg()[0]
    for size in given.sizes:
        source = folder / f"{size}.zip"
        write_zip(source, size, given.side)
        rows.append(preparation(pipeline, source, f"images_{size}", given.side, given.workers))
    return {
        "kind": "scale-images",
        "name": given.name,
        "device": processor(),
        "load": load,
        "workers": given.workers,
        "side": given.side,
        "command": shlex.join(["python", "-m", "benchmarks.scale_images", *given.shown]),
        **origin(),
        "preparation": rows,
        "seconds_of_large_image": seconds_of_large_image(),
    }


def main(given: argparse.Namespace) -> None:
    """Measure and write the record, or write the page."""
    if given.page:
        records = [
            json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("scale-images", "scale-reading", "cpu")
        ]
        (ROOT / "docs/SCALE.md").write_text(page(*records), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        record = measure(given, Path(temporary))
    write_record(given.name, record)


if __name__ == "__main__":
    try:
        main(arguments(sys.argv[1:]))
    except StudyError as error:
        sys.exit(f"Error: {error}")
