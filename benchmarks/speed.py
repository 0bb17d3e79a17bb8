"""Time this pipeline's training loop beside other loops: same images, model, batch size and device, one run.

    python -m benchmarks.speed --data results/fer2013/data --name cpu      # measure, write benchmarks/results/cpu.*
    python -m benchmarks.speed --record                                    # RESULTS.md from benchmarks/results/*.json

Every contender lives in a process of its own. Rounds are interleaved: what else the machine does meets all of them.
"""

import argparse
import csv
import json
import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ROOT, check, contenders
from benchmarks.contenders import ABOUT, BUILDERS, FROM_FILES, PRODUCT_SIZE, Task
from study.devices import supported_precisions
from study.errors import StudyError
from study.provenance import git_state, processor, versions

RESULTS = ROOT / "benchmarks/results"
JPEG_QUALITY = 95  # as the files of FER2013
SPARE_BATCHES = 2  # per worker: a DataLoader reads so far ahead, and shall have something to do while others are timed


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
        self.precision, self.workers = self.pool.submit(contenders.start, name, task).result()
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
        matrix product; None where there is nothing to compare with.
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
                "peak_memory_bytes": row["peak_memory_bytes"],
            }
        )
    return summary


def _rate(name: str, rate: float) -> str:
    return f"{rate / 1e9:,.0f} GFLOP/s" if name == "product" else f"{rate:,.1f} images/s"


def write(name: str, record: Mapping[str, Any]) -> None:
    """The record as JSON, its summary as CSV and as a figure."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with (RESULTS / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(record["summary"][0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(record["summary"])
    draw(record, RESULTS / f"{name}.svg")


def draw(record: Mapping[str, Any], path: Path) -> None:
    """Images per second of every contender, ours in colour, with the lowest and the highest round."""
    from study.figures.style import BLUE, GREY, drawing, grid

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
    state = git_state(ROOT)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    peers = {name: package for name in ("timm", "pytorch_lightning") if (package := _version(name))}
    return {
        "title": f"VGG19 at {task.width:g} of its width, batches of {task.batch_size}, {where}",
        "device": where,
        "cores": contenders.available_cores(),
        "threads": task.threads or torch.get_num_threads(),
        "images": "random" if task.data is None else "the first training images of the packed data",
        "command": shlex.join(["python", "-m", "benchmarks.speed", *given.shown]),
        "commit": state["git_commit"],
        "uncommitted_changes": state["git_dirty"],
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions() | peers,
    }


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return None


def results_page(records: Sequence[Mapping[str, Any]]) -> str:
    """RESULTS.md: every record with its table."""
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks.speed --record` from `results/*.json`; no number is typed by hand.",
        "`ours / this` is the median over rounds of the ratio within a round; at equal precision it is that of our own",
        "variant in this contender's precision. The ceiling is our training step on one resident batch.",
        "",
        *(f"- **{name}**: {text}" for name, text in ABOUT.items()),
        "",
    ]
    for record in records:
        lines += _section(record)
    return "\n".join(lines)


def _section(record: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    dirty = " with uncommitted changes" if record["uncommitted_changes"] else ""
    lines = [
        f"## {record['title']}",
        "",
        f"{record['date']}, commit {str(record['commit'])[:12]}{dirty}; {record['device']}, {record['cores']} cores, "
        f"{record['threads']} threads; {versions}; images: {record['images']}; "
        f"{record['rounds']} rounds of {record['steps']} steps.",
        "",
        f"    {record['command']}",
        "",
        f"![images per second](results/{record['name']}.svg)",
        "",
        "| contender | precision | loader processes | images/s (lowest–highest) | ours / this | at equal precision | "
        "of the ceiling | of a matrix product | peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["summary"]:
        ratios = [row[key] for key in ("ours_over_this", "ours_over_this_at_equal_precision")]
        shares = [row[key] for key in ("share_of_ceiling", "share_of_product")]
        lines.append(
            f"| {row['contender']} | {row['precision']} | {row['workers']} "
            f"| {row['images_per_second']:,.1f} ({row['lowest']:,.1f}–{row['highest']:,.1f}) | "
            + " | ".join("–" if value is None else f"{value:.2f}" for value in ratios)
            + " | "
            + " | ".join("–" if value is None else f"{value:.1%}" for value in shares)
            + f" | {row['peak_memory_bytes'] / 2**30:.2f} GiB |"
        )
    lines += [f"| {name} | {why} |" + " |" * 7 for name, why in record["unavailable"].items()]
    lines += ["", *(f"- {line}" for line in verdicts(record["summary"]))]
    if record["slots"]:
        lines += ["", "| processes at once | threads of each | images/s together |", "| --- | --- | --- |"]
        for row in record["slots"]:
            rate = statistics.median(row["rates"])
            lines.append(f"| {row['slots']} | {row['threads'] or 'default'} | {rate:,.1f} |")
    lines += ["", "Loss and gradient of our step against a plain loop in fp32, same weights and batch:", ""]
    lines += [
        f"- {one['precision']}: loss off by {one['loss_error']:.1e} (allowed {one['allowed']['loss']:g}), gradient by "
        f"{one['gradient_error']:.1e} (allowed {one['allowed']['gradient']:g}), cosine {one['gradient_cosine']:.6f}"
        for one in record["checks"]
    ]
    return [*lines, ""]


def verdicts(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """The record against what the loop is meant to reach; a target that is missed comes with what is in the way."""
    rows = {row["contender"]: row for row in summary}
    lines = []

    def judge(what: str, found: float, reached: bool) -> None:
        lines.append(f"{what}: {found:.2f}, {'reached' if reached else 'missed'}")

    if "ours" in rows and "plain" in rows:
        judge("at least 3 × the plain loop on a CPU", found := rows["plain"]["ours_over_this"], found >= 3)
        share = rows["ours"]["share_of_product"]
        if found < 3 and share:
            lines[-1] += (
                f"; the whole step runs at {share:.0%} of the rate of a large matrix product in its precision, so that "
                "no data path can make it much faster"
            )
    peers = [name for name in ("plain", "timm", "lightning", "lightning-32") if name in rows]
    equal = {name: ratio for name in peers if (ratio := rows[name]["ours_over_this_at_equal_precision"])}
    if equal:
        worst = min(equal, key=lambda name: equal[name])
        judge(f"at least 1.0 × every peer at equal precision (least against {worst})", equal[worst], equal[worst] >= 1)
    if "ours" in rows and rows["ours"]["share_of_ceiling"]:
        cost = max(0.0, 1 - rows["ours"]["share_of_ceiling"])
        judge("data path under 0.03 of the ceiling", cost, cost < 0.03)
    return lines


def record_results() -> None:
    """Write RESULTS.md from every record."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    if not records:
        raise StudyError(f"{RESULTS.relative_to(ROOT)}: no record; measure first (`make bench`)")
    (ROOT / "benchmarks/RESULTS.md").write_text(results_page(records), encoding="utf-8")


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
    parser.add_argument("--record", action="store_true", help="write RESULTS.md from the records")
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
            "name": given.name,
            "steps": given.steps,
            "rounds": given.rounds,
            "flop_per_image": flop,
            "unavailable": unavailable,
            "checks": checks,
            "summary": summary,
            "slots": slots,
            "rows": rows,
        }
        write(given.name, record)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))  # for the contenders' processes
    given = arguments(sys.argv[1:])
    try:
        if given.record:
            record_results()
        else:
            main(given)
    except StudyError as error:
        sys.exit(f"Error: {error}")
