"""Time this pipeline's training loop beside other loops: same images, model, batch size and device, one run.

    python -m benchmarks.speed --data results/fer2013/data --name cpu      # measure, write benchmarks/results/cpu.*
    python -m benchmarks.record                                            # RESULTS.md from benchmarks/results/*.json

Every contender lives in a process of its own. Rounds are interleaved: what else the machine does meets all of them.
"""

import argparse
import csv
import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ROOT, check, contenders
from benchmarks.contenders import BUILDERS, FROM_FILES, PRODUCT_SIZE, Task
from benchmarks.record import RESULTS, origin, write_record
from study.errors import StudyError
from study.provenance import processor
from study.train.devices import supported_precisions

JPEG_QUALITY = 95  # as the files of FER2013
SPARE_BATCHES = 2  # per worker: a DataLoader reads so far ahead, and shall have something to do while others are timed
# A run that is worth its set-up: FER2013's official training split, twenty times.
RUN_IMAGES = 20 * 28_709


def write_images(task: Task) -> None:
    """The images as JPEG files, one folder per class, for the contenders that read files."""
    from PIL import Image

    pixels, labels, _ = task.load()
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = Path(task.folder, f"class_{label}")
        folder.mkdir(exist_ok=True)
        picture = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(picture).save(folder / f"{number}.jpg", quality=JPEG_QUALITY)


def flop_per_image(task: Task) -> int:
    """Floating-point operations of one training step per image, forward and backward, as PyTorch counts them."""
    pixels, _, classes = replace(task, images=1).load()
    model, side = contenders.network(task, classes, pixels.shape[-1]), pixels.shape[-1]
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, side, side)).sum().backward()
    return counter.get_total_flops()


class Runner:
    """A process for one contender."""

    def __init__(self, name: str, task: Task) -> None:
        self.name, self.task = name, task
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self.precision, self.workers, self.setup = self.pool.submit(contenders.start, name, task).result()
        self.rates: list[float] = []

    def time(self, steps: int) -> None:
        """One more round: images per second, or for the matrix product operations per second."""
        began, ended = self.pool.submit(contenders.run, steps).result()
        work = 2 * PRODUCT_SIZE[self.task.select_device().type] ** 3 if self.name == "product" else self.task.batch_size
        self.rates.append(steps * work / (ended - began))

    def close(self) -> int:
        """End the process; its peak memory in bytes."""
        memory = self.pool.submit(contenders.peak_memory, self.task).result()
        self.pool.shutdown()
        return memory


def measure(task: Task, names: Sequence[str], steps: int, rounds: int) -> list[dict[str, Any]]:
    """Time each contender `rounds` times in turn; one row each, with the rate of every round."""
    runners = [Runner(name, task) for name in names]
    for number in range(rounds):
        for runner in runners[number % len(runners) :] + runners[: number % len(runners)]:
            runner.time(steps)
            print(f"round {number + 1}/{rounds}  {runner.name:<13} {_rate(runner.name, runner.rates[-1])}", flush=True)
    return [
        {
            "contender": runner.name,
            "precision": runner.precision,
            "workers": runner.workers,
            "setup_seconds": runner.setup,
            "rates": runner.rates,
            "peak_memory_bytes": runner.close(),
        }
        for runner in runners
    ]


def measure_slots(task: Task, counts: Sequence[int], steps: int, rounds: int) -> list[dict[str, Any]]:
    """Images per second that k processes of ours do together on one device, for each k.

    On a CPU they share the cores.
    """
    cores = contenders.available_cores()
    rows = []
    for count in counts:
        shared = task if task.select_device().type == "cuda" else replace(task, threads=max(1, cores // count))
        runners = [Runner("ours", shared) for _ in range(count)]
        rates = []
        for _ in range(rounds):
            spans = [runner.pool.submit(contenders.run, steps) for runner in runners]
            began, ended = zip(*(span.result() for span in spans), strict=True)
            rates.append(count * steps * task.batch_size / (max(ended) - min(began)))
        print(f"{count} at once: {statistics.median(rates):,.0f} images/s", flush=True)
        rows.append({"slots": count, "threads": shared.threads, "rates": rates})
        for runner in runners:
            runner.close()
    return rows


def summarise(rows: Sequence[Mapping[str, Any]], flop: int, cuda: bool) -> list[dict[str, Any]]:
    """Medians, and ratios of rates of the same round, which the machine's noise meets alike.

    Returns:
        per contender: images_per_second with its lowest and highest round; ours_over_this, of `ours` and of the
        variant of ours in this contender's precision; share_of_ceiling; share_of_product, of the rate of a large
        matrix product; None where there is nothing to compare with. setup_seconds, what the first steps took longer
        than others, and run_minutes, what that and the training on RUN_IMAGES add up to.
    """
    rates = {row["contender"]: row["rates"] for row in rows}

    def ratio(one: str, other: str) -> float | None:
        if one not in rates or other not in rates:
            return None
        return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))

    summary = []
    for row in rows:
        name = row["contender"]
        if name == "product":
            continue
        equal = "ours" if row["precision"].startswith("bf16") else "ours-tf32" if cuda else "ours-fp32"
        product = statistics.median(rates["product"]) if "product" in rates else None
        median = statistics.median(row["rates"])
        summary.append(
            {
                "contender": name,
                "precision": row["precision"],
                "workers": row["workers"],
                "images_per_second": median,
                "lowest": min(row["rates"]),
                "highest": max(row["rates"]),
                "ours_over_this": ratio("ours", name),
                "ours_over_this_at_equal_precision": ratio(equal, name),
                "share_of_ceiling": ratio(name, "ceiling"),
                "share_of_product": median * flop / product if product else None,
                "setup_seconds": row["setup_seconds"],
                "run_minutes": (row["setup_seconds"] + RUN_IMAGES / median) / 60,
                "peak_memory_bytes": row["peak_memory_bytes"],
            }
        )
    return summary


def _rate(name: str, rate: float) -> str:
    return f"{rate / 1e9:,.0f} GFLOP/s" if name == "product" else f"{rate:,.1f} images/s"


def write(name: str, record: Mapping[str, Any]) -> None:
    """The record as JSON, its summary as CSV and as a figure."""
    write_record(name, record)
    with (RESULTS / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(record["summary"][0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(record["summary"])
    draw(record, RESULTS / f"{name}.svg")


def draw(record: Mapping[str, Any], path: Path) -> None:
    """Images per second of every contender, ours in colour, with the lowest and the highest round."""
    from study.report.figures.style import BLUE, GREY, drawing, grid

    rows = sorted(record["summary"], key=lambda row: row["images_per_second"])
    with drawing(path, 8.4, 1.3 + 0.36 * len(rows)) as figure:
        axes = figure.subplots()
        for y, row in enumerate(rows):
            rate, color = row["images_per_second"], BLUE if row["contender"].startswith("ours") else GREY
            axes.barh(y, rate, color=color, height=0.62)
            axes.plot([row["lowest"], row["highest"]], [y, y], color="black", linewidth=1.2)
            axes.text(max(rate, row["highest"]), y, f"  {rate:,.0f}", va="center", fontsize=9.5)
        axes.set_yticks(range(len(rows)), [f"{row['contender']} ({row['precision']})" for row in rows])
        axes.set_xlabel("Training images per second (bar: median round, line: lowest to highest)")
        axes.set_xlim(0, 1.12 * max(row["highest"] for row in rows))
        axes.set_title(record["title"])
        grid(axes, "x")


def describe(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """What was measured, where and how; nothing that names the machine's user or folders."""
    device = task.select_device()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    peers = {name: package for name in ("timm", "pytorch_lightning") if (package := _version(name))}
    return {
        "title": f"VGG19 at {task.width:g} of its width, batches of {task.batch_size}, {where}",
        "device": where,
        "cuda": device.type == "cuda",
        "threads": task.threads or torch.get_num_threads(),
        "images": "random" if task.data is None else "the first training images of the packed data",
        "command": shlex.join(["python", "-m", "benchmarks.speed", *given.shown]),
        **origin(peers),
    }


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return None


def arguments(text: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of packed images, results/<study>/data; random images without it")
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--width", type=float, default=1.0, help="of the network; 1 is the published VGG19")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6, help="timed in a round")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them, at least 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes of each DataLoader")
    parser.add_argument("--threads", type=int, help="of each training process; PyTorch's choice without it")
    parser.add_argument("--contenders", nargs="*", choices=list(BUILDERS), default=list(BUILDERS))
    parser.add_argument("--slots", type=int, nargs="*", default=[], help="processes of ours at once, such as 1 2 3 4")
    given = parser.parse_args(text)
    given.shown = list(text)
    return given


def main(given: argparse.Namespace) -> None:
    """Check, measure, print, write."""
    if given.data is not None and not Path(given.data, "pack.json").exists():
        raise StudyError(f"{given.data}: no pack.json there; packed images come from `snakemake … pack`")
    images = given.batch_size * (max(1, given.warmup) + given.steps + SPARE_BATCHES * given.workers)
    with tempfile.TemporaryDirectory() as folder:
        task = Task(
            given.data, folder, given.device, given.width, given.batch_size, images, max(1, given.warmup),
            given.workers, given.threads,
        )  # fmt: skip
        device = task.select_device()
        unavailable = {name: why for name in given.contenders if (why := contenders.unavailable(name, device))}
        names = [name for name in given.contenders if name not in unavailable]
        for name, why in unavailable.items():
            print(f"{name}: {why}")
        if given.data is None:
            print("No --data: random images of FER2013's size")
        if set(names) & set(FROM_FILES):
            write_images(task)
        precisions = [name for name in ("fp32", "bf16") if name in supported_precisions(device)]
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            checks = pool.submit(check.check, task, precisions).result()
            profile = pool.submit(contenders.profile, task).result()
        print("The step computes what a plain loop in fp32 computes, within the tolerances stated.")
        rows = measure(task, names, given.steps, given.rounds)
        slots = measure_slots(task, given.slots, given.steps, given.rounds) if given.slots else []
        flop = flop_per_image(task)
    summary = summarise(rows, flop, device.type == "cuda")
    for row in summary:
        print(f"{row['contender']:<13} {row['precision']:<11} {row['images_per_second']:>9,.1f} images/s", end="")
        for key, words in (
            ("ours_over_this", "ours / this"),
            ("ours_over_this_at_equal_precision", "at equal precision"),
            ("share_of_ceiling", "of the ceiling"),
        ):
            print("" if row[key] is None else f"   {words} {row[key]:.2f}", end="")
        print()
    if given.name:
        record = describe(task, given) | {
            "kind": "speed",
            "name": given.name,
            "steps": given.steps,
            "rounds": given.rounds,
            "flop_per_image": flop,
            "unavailable": unavailable,
            "checks": checks,
            "profile": profile,
            "summary": summary,
            "slots": slots,
            "rows": rows,
        }
        write(given.name, record)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))  # for the contenders' processes
    given = arguments(sys.argv[1:])
    try:
        main(given)
    except StudyError as error:
        sys.exit(f"Error: {error}")
