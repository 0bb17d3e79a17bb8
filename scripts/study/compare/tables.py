"""The tables of a study: one per case, one row per run, and every pair of recipes.

Entry points (runs come from `study.compare.runs.load_runs`, with predictions; `confidence` is a share such as 0.95):
    verdicts(runs, confidence) -> {(experiment, seed): (verdict, adjusted p)}
    case_table(runs, case, confidence, samples, unlike) -> DataFrame     tables/case_<n>.csv (to_csv with index=False)
    case_markdown(table, case, question, confidence) -> str           tables/case_<n>.md
    comparison(runs, confidence, samples, reported) -> DataFrame      tables/comparison.csv
    pairwise(runs, confidence, samples) -> DataFrame                  tables/pairwise.csv
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.runs import FAILURES, Run, by_experiment, choose
from study.compare.statistics import (
    RESAMPLED,
    crossed,
    holm,
    mcnemar,
    mean_interval,
    percentile_interval,
    resampled_scores,
    resamples,
    sign_flips,
    wilson_interval,
)
from study.errors import StudyError

BOOTSTRAP_SEED = 0  # the same resamples in every table and every run of the pipeline

BEST, SAME, WORSE, BETTER = "best", "not distinguishable", "worse", "better"

# Label of a case table's row -> the recipe's field.
PROPERTIES = {
    "optimizer": "optimizer",
    "learning rate": "lr",
    "minimum learning rate": "min_lr",
    "batch size": "batch_size",
    "maximum epochs": "max_epochs",
    "loss": "loss",
    "activation": "activation",
    "sampler": "sampler",
    "momentum": "momentum",
    "weight decay": "weight_decay",
    "Nesterov": "nesterov",
}
MEASURES: dict[str, Callable[[Run], float | None]] = {
    "validation accuracy": lambda run: run.val_accuracy,
    "test accuracy": lambda run: run.test_accuracy,
    "test macro-F1": lambda run: run.metrics["test"]["macro_f1"],
    "test NLL": lambda run: run.metrics["test"]["nll"],
}
LOWER_IS_BETTER = ("test NLL",)
BOOTSTRAPPED = {"test macro-F1": "macro_f1", "test NLL": "nll"}  # label -> metric with an interval by bootstrap
EVERY_SEED = "all"  # in pairwise.csv's column "seed": the seeds together


def verdicts(runs: Sequence[Run], confidence: float) -> dict[tuple[str, int], tuple[str, float]]:
    """Each run beside the best recipe's run of the same seed, on the same test images.

    The best recipe is chosen on validation, so the test images are fresh and comparing every other recipe with it is
    one family of tests: exact McNemar, adjusted by Holm. A run is "worse" or "better" if its adjusted p value is at
    most 1 − confidence, else "not distinguishable". "better" can happen: validation chose, test disagrees.

    Returns:
        (experiment, seed) -> (verdict, adjusted p value); p is nan for the best recipe itself.
    """
    winner = choose(runs)
    best = {run.seed: run for run in runs if run.experiment == winner}
    others = [run for run in runs if run.experiment != winner]
    p_values = holm([mcnemar(_correct(run), _correct(best[run.seed])) for run in others])
    result = {(winner, seed): (BEST, math.nan) for seed in best}
    for run, p in zip(others, p_values, strict=True):
        higher = run.test_accuracy > best[run.seed].test_accuracy
        verdict = SAME if p > 1 - confidence else BETTER if higher else WORSE
        result[run.experiment, run.seed] = verdict, p
    return result


def recipe_verdict(verdicts_of_seeds: Sequence[str]) -> str:
    """One verdict for a recipe with several seeds: it differs from the best only if it does so with every seed."""
    first = verdicts_of_seeds[0]
    return first if all(verdict == first for verdict in verdicts_of_seeds) else SAME


def _correct(run: Run) -> NDArray[np.bool_]:
    return run.scores["test"].correct


# ---------------------------------------------------------------------------------------------------------- one case


def case_table(
    runs: Sequence[Run], case: int, confidence: float, samples: int, unlike: Mapping[str, str] | None
) -> pd.DataFrame:
    """The study's own arrangement: a row per property of the recipe, then the results; a column per experiment.

    With several seeds a measure is the mean, followed by a row "… spread" (standard deviation over seeds). The
    interval of the accuracy is Student's over seeds, or Wilson's over the test images for one seed; that of macro-F1
    and NLL is a bootstrap interval over images, or over seeds and images. The verdict compares with the best recipe
    of this case, see `verdicts`.

    Args:
        samples: bootstrap samples.
        unlike: add the reported validation accuracy, the measured one minus it, what of the settings was otherwise
            (experiment -> text, see `study.compare.comparability.short`), and the note; None leaves them out.

    Returns:
        column "property", then one column per experiment; cells are numbers, text or None.

    Raises:
        StudyError: if no run belongs to the case.
    """
    groups = by_experiment(run for run in runs if run.case == case)
    if not groups:
        raise StudyError(
            f"case {case}: no recipe belongs to it; the table of recipes has {sorted({r.case for r in runs})}"
        )
    verdict = verdicts([run for group in groups.values() for run in group], confidence)
    multiplicity = resamples(runs[0].metrics["test"]["images"], samples, BOOTSTRAP_SEED)
    columns = {}
    for name, group in groups.items():
        scores = {metric: _over_seeds_and_images(group, multiplicity, metric) for metric in BOOTSTRAPPED.values()}
        intervals = {metric: percentile_interval(values, confidence) for metric, values in scores.items()}
        columns[name] = _case_column(group, confidence, verdict, intervals)
        if unlike is not None:
            columns[name] |= _reported_cells(group, columns[name]["validation accuracy"], unlike[name])
    rows = list(next(iter(columns.values())))
    return pd.DataFrame(
        {"property": rows, **{name: list(cells.values()) for name, cells in columns.items()}}, dtype=object
    )


def _over_seeds_and_images(group: Sequence[Run], multiplicity: NDArray[np.float32], metric: str) -> NDArray[np.float64]:
    """Bootstrap values of a recipe's mean over its seeds, (samples,)."""
    return crossed(np.array([_resampled(run, multiplicity)[metric] for run in group]), BOOTSTRAP_SEED)


def _case_column(
    group: list[Run],
    confidence: float,
    verdict: dict[tuple[str, int], tuple[str, float]],
    intervals: dict[str, tuple[float, float]],
) -> dict[str, Any]:
    recipe = group[0].recipe
    cells: dict[str, Any] = {label: getattr(recipe, name) for label, name in PROPERTIES.items()}
    cells["epochs allowed here"] = group[0].record["max_epochs"]
    outcomes = Counter(run.outcome for run in group)
    cells["outcome"] = group[0].outcome if len(group) == 1 else ", ".join(f"{n} × {o}" for o, n in outcomes.items())
    cells["reason"] = "; ".join(dict.fromkeys(run.reason for run in group if run.failed)) or None
    cells["epochs"] = _over_seeds([run.record["epochs"] for run in group])
    cells["best epoch"] = _over_seeds([run.record["best_epoch"] for run in group])
    for label, measure in MEASURES.items():
        values = [measure(run) for run in group]
        cells[label] = _mean(values)
        if len(group) > 1:
            cells[f"{label} spread"] = None if None in values else float(np.std(np.array(values, float), ddof=1))
        if label == "test accuracy":
            cells[f"{label} low"], cells[f"{label} high"] = accuracy_interval(group, "test", confidence)
        if label in BOOTSTRAPPED:
            cells[f"{label} low"], cells[f"{label} high"] = intervals[BOOTSTRAPPED[label]]
    cells["compared with best"] = recipe_verdict([verdict[run.experiment, run.seed][0] for run in group])
    return cells


def _reported_cells(group: list[Run], measured: float, unlike: str) -> dict[str, Any]:
    recipe = group[0].recipe
    return {
        "reported accuracy": recipe.reported,
        "measured minus reported": None if recipe.reported is None else measured - recipe.reported,
        "reported with other": unlike or None,
        "note": recipe.reported_note or None,
    }


def accuracy_interval(group: Sequence[Run], split: str, confidence: float) -> tuple[float, float]:
    """Interval of a recipe's accuracy: Wilson's over the images for one seed, Student's over several seeds."""
    if len(group) > 1:
        low, high = mean_interval([run.metrics[split]["accuracy"] for run in group], confidence)
        return max(low, 0.0), min(high, 1.0)
    scores = group[0].metrics[split]
    return wilson_interval(round(scores["accuracy"] * scores["images"]), scores["images"], confidence)


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else float(np.mean(np.array(values, float)))


def _over_seeds(values: list[Any]) -> Any:
    """The value of a single seed, or all of them as text."""
    return values[0] if len(values) == 1 else ", ".join("–" if value is None else str(value) for value in values)


def case_cells(table: pd.DataFrame) -> list[tuple[str, list[tuple[str, bool]]]]:
    """A case table as it is read: (label, [(text, best of its row)]); spread and interval are part of the text.

    A failed recipe is never the best of a row. Rows that say nothing are left out: empty ones, momentum, weight decay
    and Nesterov where no recipe uses them, the epochs allowed where they are those of the recipes, and what the
    reported values were made with where it is the same for all (the note below the table says it).
    """
    rows = {row[0]: list(row[1:]) for row in table.itertuples(index=False, name=None)}
    alive = [not outcome_is_failure(str(outcome)) for outcome in rows["outcome"]]
    shown = []
    for label, values in rows.items():
        part = label.endswith((" spread", " low", " high"))
        unused = label in ("momentum", "weight decay", "Nesterov") and not any(values)
        uncapped = label == "epochs allowed here" and values == rows["maximum epochs"]
        told = label == "reported with other" and len(set(values)) == 1
        if part or unused or uncapped or told or all(value is None for value in values):
            continue
        texts = [_cell(label, value) for value in values]
        for extra, form in ((" spread", " ± {:.4f}"), (" low", " ({:.4f}"), (" high", "–{:.4f})")):
            for k, value in enumerate(rows.get(label + extra, [])):
                texts[k] += "" if value is None or math.isnan(value) else form.format(value)
        shown.append((label, list(zip(texts, _best(label, values, alive), strict=True))))
    return shown


def outcome_is_failure(outcome: str) -> bool:
    """Whether an outcome cell ("collapsed", "2 × collapsed, 1 × completed") says that every seed failed."""
    return all(part.split()[-1] in FAILURES for part in outcome.split(", "))


def _best(label: str, values: list[Any], alive: list[bool]) -> list[bool]:
    if label not in MEASURES or len(values) < 2:
        return [False] * len(values)
    sign = -1 if label in LOWER_IS_BETTER else 1
    scores = [sign * v if ok and v is not None else -math.inf for v, ok in zip(values, alive, strict=True)]
    return [score == max(scores) and score > -math.inf for score in scores]


def _cell(label: str, value: Any) -> str:
    if value is None:
        return "–"
    if label in ("learning rate", "minimum learning rate"):
        return lr_text(value)
    if label == "measured minus reported":
        return f"{value:+.4f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if label in (*MEASURES, "reported accuracy"):
        return f"{value:.4f}"
    return str(value).replace("_", " ") if label in ("loss", "activation", "sampler", "outcome") else f"{value}"


def lr_text(lr: float) -> str:
    """A learning rate as papers write it: 1e-2, 5e-4, 0.5, 0."""
    return f"{lr:g}" if lr == 0 or lr >= 0.1 else re.sub(r"\.?0*e-0*", "e-", f"{lr:.3e}")


def case_markdown(table: pd.DataFrame, case: int, question: str, confidence: float, notes: Sequence[str] = ()) -> str:
    """A case table as Markdown; the best value of a row is bold. `notes` are paragraphs below it."""
    names = list(table.columns[1:])
    lines = [f"# Case {case}", "", escape_markdown(question), ""] if question else [f"# Case {case}", ""]
    lines += ["| | " + " | ".join(map(escape_markdown, names)) + " |", "| --- |" + " --- |" * len(names)]
    for label, cells in case_cells(table):
        texts = [f"**{escape_markdown(text)}**" if best else escape_markdown(text) for text, best in cells]
        lines.append(f"| {label} | " + " | ".join(texts) + " |")
    remarks = [line for remark in [*case_remarks(table), *map(escape_markdown, notes)] for line in ("", remark)]
    several_seeds = "test accuracy spread" in set(table["property"])
    return "\n".join([*lines, *remarks, "", case_note(several_seeds, confidence), ""])


def case_remarks(table: pd.DataFrame) -> list[str]:
    """Sentences that a reader of this case table has to know: two treatments that change together, failures alone."""
    rows = table.set_index("property")
    treatments = set(zip(rows.loc["loss"], rows.loc["sampler"], strict=True))
    losses, samplers = (set(values) for values in zip(*treatments, strict=True))
    remarks = []
    if len(treatments) == len(losses) == len(samplers) > 1:
        remarks.append(
            "Loss and sampler change together here: both treat the imbalance of the classes, and this case cannot tell "
            "the effect of one from that of the other."
        )
    if all(outcome_is_failure(outcome) for outcome in rows.loc["outcome"]):
        remarks.append("Every recipe of this case failed.")
    return remarks


def case_note(several_seeds: bool, confidence: float) -> str:
    """What the marks of a case table mean, in one paragraph."""
    source = (
        "over seeds (accuracy: Student; the others: bootstrap over seeds and images)"
        if several_seeds
        else "from the test images (accuracy: Wilson; the others: bootstrap)"
    )
    spread = " ±: standard deviation over seeds." if several_seeds else ""
    return (
        f"Bold: best of the row, failed recipes aside.{spread} In brackets: {confidence:.0%} interval {source}. "
        "Compared with best: against the recipe of the case with the highest validation accuracy, on the same test "
        "images (exact McNemar test, Holm's correction)."
    )


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*\[\]<>|&~#$]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(str(text).split()))


# ----------------------------------------------------------------------------------------------------------- all runs


def comparison(runs: Sequence[Run], confidence: float, samples: int, reported: bool = False) -> pd.DataFrame:
    """Every run in a row: recipe, outcome, validation and test scores with intervals, how it compares with the best.

    Accuracies have Wilson's interval, the other test scores a bootstrap interval over images. `vs_best` and
    `p_vs_best` are explained at `verdicts`.

    Args:
        samples: bootstrap samples.
        reported: add the columns `reported` and `reported_difference` (validation accuracy minus reported).
    """
    verdict = verdicts(runs, confidence)
    multiplicity = resamples(runs[0].metrics["test"]["images"], samples, BOOTSTRAP_SEED)
    rows = []
    for run in runs:
        row: dict[str, Any] = {"experiment": run.experiment, "seed": run.seed, "case": run.case}
        row |= run.recipe.hyperparameters()
        row |= {"outcome": run.outcome, "reason": run.reason}
        row |= {name: run.record[name] for name in ("epochs", "best_epoch")}
        row |= _scores_row(run, _resampled(run, multiplicity), confidence)
        row["vs_best"], row["p_vs_best"] = verdict[run.experiment, run.seed]
        row |= {"test_images": run.metrics["test"]["images"], "confidence": confidence}
        row |= {"images_per_second": run.record["images_per_second"], "seconds": run.record["seconds"]}
        if reported:
            row["reported"] = run.recipe.reported
            row["reported_difference"] = None if run.recipe.reported is None else run.val_accuracy - run.recipe.reported
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({"best_epoch": "Int64"})


def _scores_row(run: Run, resampled: dict[str, NDArray[np.float64]], confidence: float) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for split in ("val", "test"):
        row[f"{split}_accuracy"] = run.metrics[split]["accuracy"]
        row[f"{split}_accuracy_low"], row[f"{split}_accuracy_high"] = accuracy_interval([run], split, confidence)
    for name in RESAMPLED[1:]:
        row[f"test_{name}"] = run.metrics["test"][name]
        row[f"test_{name}_low"], row[f"test_{name}_high"] = percentile_interval(resampled[name], confidence)
    return row | {"test_ece": run.metrics["test"]["ece"], "val_nll": run.metrics["val"]["nll"]}


def _resampled(run: Run, multiplicity: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    scores = run.scores["test"]
    return resampled_scores(scores.labels, scores.predicted, scores.nll, len(run.classes), multiplicity)


def pairwise(runs: Sequence[Run], confidence: float, samples: int) -> pd.DataFrame:
    """Every pair of recipes with the same seed, on the same test images; an empty table with columns for one recipe.

    Columns: experiment_a, experiment_b, seed, images, accuracy_a, accuracy_b, then for accuracy, balanced_accuracy,
    macro_f1 and nll the difference a − b with its paired bootstrap interval, only_a_correct, only_b_correct,
    p_mcnemar (exact), p_holm (adjusted over all pairs and seeds of the table), distinguishable (p_holm ≤
    1 − confidence).

    With several seeds there is one more row per pair, with seed "all": means over the seeds, bootstrap intervals over
    seeds and images, and in p_seeds the exact paired test over seeds, with p_holm adjusted over those rows alone.
    """
    multiplicity = resamples(runs[0].metrics["test"]["images"], samples, BOOTSTRAP_SEED)
    resampled = {(run.experiment, run.seed): _resampled(run, multiplicity) for run in runs}
    pairs = [(a, b) for a, b in itertools.combinations(runs, 2) if a.seed == b.seed]
    rows = [_pair_row([a], [b], resampled, confidence) | _mcnemar_cells(a, b) for a, b in pairs]
    _adjust(rows, "p_mcnemar", confidence)
    if len({run.seed for run in runs}) > 1:
        groups = list(by_experiment(runs).values())
        over_seeds = [_seeds_row(a, b, resampled, confidence) for a, b in itertools.combinations(groups, 2)]
        _adjust(over_seeds, "p_seeds", confidence)
        rows += over_seeds
    return pd.DataFrame(rows, columns=PAIRWISE_COLUMNS)


def _pair_row(
    a: Sequence[Run],
    b: Sequence[Run],
    resampled: dict[tuple[str, int], dict[str, NDArray[np.float64]]],
    confidence: float,
) -> dict[str, Any]:
    """Differences between the runs of two recipes, the seeds in the same order."""
    row: dict[str, Any] = {"experiment_a": a[0].experiment, "experiment_b": b[0].experiment}
    row |= {"seed": a[0].seed if len(a) == 1 else EVERY_SEED, "images": a[0].metrics["test"]["images"]}
    row |= {f"accuracy_{side}": _mean([run.test_accuracy for run in runs]) for side, runs in (("a", a), ("b", b))}
    for name in RESAMPLED:
        both = [_mean([run.metrics["test"][name] for run in runs]) for runs in (a, b)]
        row[f"{name}_difference"] = math.nan if None in both else both[0] - both[1]  # type: ignore[operator]
        differences = [
            resampled[one.experiment, one.seed][name] - resampled[two.experiment, two.seed][name]
            for one, two in zip(a, b, strict=True)
        ]
        values = crossed(np.array(differences), BOOTSTRAP_SEED)
        row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(values, confidence)
    return row


def _mcnemar_cells(a: Run, b: Run) -> dict[str, Any]:
    return {
        "only_a_correct": int(np.sum(_correct(a) & ~_correct(b))),
        "only_b_correct": int(np.sum(_correct(b) & ~_correct(a))),
        "p_mcnemar": mcnemar(_correct(a), _correct(b)),
    }


def _seeds_row(
    a: Sequence[Run],
    b: Sequence[Run],
    resampled: dict[tuple[str, int], dict[str, NDArray[np.float64]]],
    confidence: float,
) -> dict[str, Any]:
    differences = [one.test_accuracy - two.test_accuracy for one, two in zip(a, b, strict=True)]
    return _pair_row(a, b, resampled, confidence) | {"p_seeds": sign_flips(differences)}


def _adjust(rows: list[dict[str, Any]], test: str, confidence: float) -> None:
    """Add p_holm and distinguishable to rows that are one family of tests."""
    for row, p in zip(rows, holm([row[test] for row in rows]), strict=True):
        row |= {"p_holm": p, "distinguishable": p <= 1 - confidence}


PAIRWISE_COLUMNS = [
    *("experiment_a", "experiment_b", "seed", "images", "accuracy_a", "accuracy_b"),
    *(f"{name}_{end}" for name in RESAMPLED for end in ("difference", "low", "high")),
    *("only_a_correct", "only_b_correct", "p_mcnemar", "p_seeds", "p_holm", "distinguishable"),
]
