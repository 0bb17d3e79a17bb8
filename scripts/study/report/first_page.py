"""The first page of the report: the answer, then everything it rests on, as HTML inside reStructuredText.

Snakemake's report reads its first page as reStructuredText. Tables that scroll, folded curves and a comparison that
sorts need HTML, so the page is rendered by a template that escapes what it is given, and handed over as one raw block.

Entry points:
    landing_html(runs, study) -> str                       a fragment; everything it shows is inside
    as_rst(html) -> str                                    the fragment as a raw block
"""

import base64
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from study.compare import comparability
from study.compare.leakage import leakage_facts
from study.compare.questionable import Choice
from study.compare.runs import FAILURES, Run, all_failed, by_experiment, choose
from study.compare.tables import accuracy_interval, case_cells, case_note, case_remarks, case_table
from study.report.answer import answer, audit_facts, caution, plain
from study.report.comparison_page import environment

BASE64_LINE = 2000  # docutils refuses lines of more than 10,000 characters

# Outputs of the rule `figures` that the page shows.
FIGURES = (
    *(
        "comparison",
        "effects",
        "cases",
        "curves",
        "lr_batch",
        "confusion",
        "class_recall",
        "confused",
        "reliability",
        "recall",
    ),
    *("class_counts", "samples"),
)
VERDICT_SYMBOLS = {"holds": "✓", "reversed": "✗", "not distinguishable": "≈", "cannot be judged": "–"}


@dataclass(frozen=True)
class Study:
    """What the first page shows beside the runs.

    Attributes:
        name: of the study.
        questions: what each case asks, by case number; cases without a question are shown too.
        confidence: level of the intervals, a share.
        samples: bootstrap samples.
        compared: what the reported values were made with, see `study.settings.compared`; None shows none of them.
        note: sentence below the case tables; may be empty.
        figures: each of `FIGURES` -> its files.
        comparison: the page that sorts and filters, whole.
        conclusions, ensemble, effects, leakage, diagnosis: as made by the modules of these names.
        choices: the questionable choices in force, see `study.compare.questionable`.
        pack, audit: the content of pack.json and audit.json.
    """

    name: str
    questions: Mapping[int, str]
    confidence: float
    samples: int
    compared: comparability.Compared | None
    note: str
    figures: Mapping[str, Sequence[str | Path]]
    comparison: str
    conclusions: pd.DataFrame
    ensemble: pd.DataFrame
    effects: pd.DataFrame
    leakage: pd.DataFrame
    diagnosis: pd.DataFrame
    choices: Sequence[Choice]
    pack: Mapping[str, Any]
    audit: Mapping[str, Any]


def landing_html(runs: Sequence[Run], study: Study) -> str:
    """The fragment: answer, comparison, conclusions, cases, curves, learning rate × batch size, errors, data, origin.

    Text from the data is escaped by the template; figures are data URIs, so nothing comes from outside.
    """
    winner = choose(runs)
    best = by_experiment(runs)[winner]
    low, high = accuracy_interval(best, "test", study.confidence)
    first, *others = answer(runs, study.confidence, lambda text: str(escape(plain(text))), _strong)
    return environment().get_template("landing.html.j2").render(
        study=study,
        winner=winner,
        test=f"{sum(run.test_accuracy for run in best) / len(best):.1%}",
        interval=f"{low:.1%} to {high:.1%}",
        level=f"{study.confidence:.0%}",
        sentences=[Markup(sentence) for sentence in (first, *others)],  # escaped by `answer`
        caution=caution(runs, study.confidence),
        diagnoses=_diagnoses(study.diagnosis),
        figures={name: [_data_uri(path) for path in paths] for name, paths in study.figures.items()},
        experiments=list(by_experiment(runs)),
        failed={name for name, group in by_experiment(runs).items() if all_failed(group)},
        conclusions=study.conclusions.to_dict("records"),
        effects=[_effect_row(row) for row in study.effects.to_dict("records")],
        symbols=VERDICT_SYMBOLS,
        notes=[note for note in (_comparability(runs, study), study.note) if note],
        cases=[_case(runs, case, study) for case in sorted({run.case for run in runs})],
        case_note=case_note(len({run.seed for run in runs}) > 1, study.confidence),
        ensemble=[_vote_row(row) for row in study.ensemble.to_dict("records")],
        audit=audit_facts(study.audit) + leakage_facts(study.leakage, winner),
        leakage=[_leakage_row(row) for row in study.leakage.to_dict("records") if row["copied"]],
        origin=origin(runs),
    )  # fmt: skip


def _strong(text: str) -> str:
    return f"<strong>{text}</strong>"


def _data_uri(path: str | Path) -> str:
    data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    return "\n".join(textwrap.wrap("data:image/svg+xml;base64," + data, BASE64_LINE, break_on_hyphens=False))


def _diagnoses(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What happened in every run, failures first."""
    several_seeds = len(set(table["seed"])) > 1
    rows = [
        {
            "name": f"{row['experiment']}, seed {row['seed']}" if several_seeds else row["experiment"],
            "outcome": row["outcome"].replace("_", " "),
            "failed": row["outcome"] in FAILURES,
            "text": row["what_happened"],
        }
        for row in table.to_dict("records")
    ]
    return sorted(rows, key=lambda row: not row["failed"])


def _comparability(runs: Sequence[Run], study: Study) -> str:
    return "" if study.compared is None else comparability.note(study.compared, runs)


def points(row: Mapping[Any, Any], name: str) -> str:
    """A difference and its interval in percentage points."""
    ends = (round(100 * row[f"{name}_{end}"], 1) + 0.0 for end in ("difference", "low", "high"))  # no "-0.0"
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*ends)


def _effect_row(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "treatment": row["treatment"],
        "change": row["change"],
        "pair": f"{row['experiment_from']} → {row['experiment_to']}",
        "accuracy": points(row, "accuracy"),
        "balanced": points(row, "balanced_accuracy"),
        "p": f"{row['p_holm']:.2g}",
        "verdict": row["verdict"] + (f" ({row['failed']})" if isinstance(row["failed"], str) and row["failed"] else ""),
    }


def _leakage_row(row: Mapping[Any, Any]) -> dict[str, str]:
    shares = ("accuracy", "accuracy_without_copies", "accuracy_of_copies")
    cells = {name: "–" if pd.isna(row[name]) else f"{row[name]:.1%}" for name in shares}
    name = f"{row['experiment']}, seed {row['seed']}"
    return cells | {"name": name, "split": row["split"], "copied": f"{row['copied']:,} of {row['images']:,}"}


def _case(runs: Sequence[Run], case: int, study: Study) -> dict[str, Any]:
    unlike = None if study.compared is None else comparability.short(study.compared, runs)
    table = case_table(runs, case, study.confidence, study.samples, unlike)
    return {
        "number": case,
        "question": study.questions.get(case, ""),
        "names": list(table.columns[1:]),
        "rows": [(label, cells) for label, cells in case_cells(table) if label != "reason"],  # told above
        "remarks": case_remarks(table),
    }


def _vote_row(row: Mapping[Any, Any]) -> dict[str, str]:
    shown: dict[str, Callable[[Any], str]] = {
        "val_accuracy": "{:.1%}".format,
        "val_nll": "{:.3f}".format,
        "test_nll": "{:.3f}".format,
        "test_ece": "{:.3f}".format,
        "test_macro_f1": "{:.3f}".format,
        "p_mcnemar": "{:.2g}".format,
    }
    cells = {key: "–" if pd.isna(row[key]) else show(row[key]) for key, show in shown.items()}
    cells["test_accuracy"] = "{:.1%} ({:.1%}–{:.1%})".format(
        *(row[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    )
    ends = [row[f"accuracy_difference{end}"] for end in ("", "_low", "_high")]
    cells["difference"] = "–" if pd.isna(ends[0]) else "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * e for e in ends))
    return cells | {"name": str(row["name"]), "role": str(row["role"])}


def origin(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What made the runs, from their run.json: (what, value), several values with how many runs each stands for."""
    made = [run.record.get("provenance", {}) for run in runs]
    commits = [
        f"{m['git_commit'][:12]}{' with local changes' if m.get('git_dirty') else ''}" if m.get("git_commit") else ""
        for m in made
    ]
    rows = {
        "commit": commits,
        "device": [str(run.record.get("device", "")) for run in runs],
        "precision": [str(run.record.get("precision", "")) for run in runs],
        "threads": [str(m.get("threads", "")) for m in made],
        "platform": [str(m.get("platform", "")) for m in made],
        "data": [m.get("data", "")[:12] for m in made],
        "training code": [m.get("code", "")[:12] for m in made],
        "settings": [m.get("settings", "")[:12] for m in made],
        "resumed": [f"{m['resumes']} times" if m.get("resumes") else "" for m in made],
        "parameters": [f"{run.record.get('parameters', 0):,}" for run in runs],
        **{
            package: [m.get("versions", {}).get(package, "") for m in made]
            for package in dict.fromkeys(name for m in made for name in m.get("versions", {}))
        },
    }
    told = [(what, _counted(values)) for what, values in rows.items() if any(values)]
    seconds = sum(run.record["seconds"] for run in runs)
    told.insert(0, ("training time", f"{seconds / 60:,.1f} minutes for {len(runs)} runs, each on its own"))
    days = sorted(m[end] for m in made for end in ("started", "ended") if m.get(end))
    return [("trained", f"{days[0]} to {days[-1]}"), *told] if days else told


def _counted(values: Sequence[str]) -> str:
    counts = Counter(value for value in values if value)
    if len(counts) == 1 and all(values):
        return next(iter(counts))
    return "; ".join(f"{value} ({count} {'run' if count == 1 else 'runs'})" for value, count in counts.most_common())


def as_rst(html: str) -> str:
    """A raw block of reStructuredText. Every line break that docutils knows is followed by the block's indent."""
    return ".. raw:: html\n\n" + textwrap.indent("\n".join(html.splitlines()), "   ") + "\n"
