"""The first page of the report: the answer, then everything it rests on, as HTML inside reStructuredText.

Snakemake's report reads its first page as reStructuredText. Tables that scroll, folded curves and a comparison that
sorts need HTML, so the page is rendered by a template that escapes what it is given, and handed over as one raw block.

Entry points:
    first_page_html(comparison, page) -> str               a fragment; figures are named in it
    as_rst(html) -> str                                    the fragment as a raw block
    provenance_rows(runs) -> [(what, value)]               what made the runs
"""

import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from study.compare import comparability
from study.compare.case_table import case_table
from study.compare.comparison import MCNEMAR, SIGN_FLIP, Comparison
from study.compare.cost import cost_in_words, costs, duration
from study.compare.leakage import leakage_facts
from study.compare.points import with_interval
from study.compare.questionable import Choice
from study.compare.runs import Run
from study.compare.statistics import level
from study.compare.subgroups import subgroup_facts
from study.compare.verdicts import NOT_BETTER
from study.elsewhere import from_file
from study.evaluate import own_predictions
from study.names import EVALUATED_SPLITS, FAILURES
from study.report.all_figures import Figure, Key, keys_of
from study.report.answer import answer, audit_facts, caution, plain, some, test_names
from study.report.case_text import case_cells, case_note, case_remarks
from study.report.comparison_page import environment
from study.report.shown import MOST, failures_counted, largest_effects, shown
from study.report.symbols import SYMBOLS

LOOKED_AT = 5  # of many recipes, those with figures of their own on the page, and as many failures reported on

# Anchors of the page's sections, which figures name as their place, and what the navigation calls them.
SECTIONS = {
    "diagnosis": "What happened",
    "comparison": "Comparison",
    "effects": "Effects",
    "cost": "Cost",
    "conclusions": "Conclusions",
    "cases": "Cases",
    "curves": "Curves",
    "map": "Two hyperparameters",
    "errors": "Errors",
    "subgroups": "Subgroups",
    "ensemble": "Ensemble",
    "data": "Data",
    "origin": "Provenance",
}


@dataclass(frozen=True)
class FirstPage:
    """What the first page shows beside the comparison.

    Attributes:
        name: of the study.
        questions: what each case asks, by case number as text; cases without a question are shown too.
        note: sentence below the case tables; may be empty.
        conclusions, ensemble, effects, leakage, subgroups, label_hints, diagnosis: the tables of these names.
        choices: the questionable choices in force, see `study.compare.questionable`.
        pack, audit: the content of pack.json and audit.json.
        figures: those of the study, see `study.report.all_figures.figures_of`.
    """

    name: str
    questions: Mapping[str, str]
    note: str
    conclusions: pd.DataFrame
    ensemble: pd.DataFrame
    effects: pd.DataFrame
    leakage: pd.DataFrame
    subgroups: pd.DataFrame
    label_hints: pd.DataFrame
    diagnosis: pd.DataFrame
    choices: Sequence[Choice]
    pack: Mapping[str, Any]
    audit: Mapping[str, Any]
    figures: Sequence[Figure]


def first_page_html(comparison: Comparison, page: FirstPage) -> str:
    """The fragment: answer, comparison, conclusions, cases, curves, learning rate × batch size, errors, data, origin.

    Text from the data is escaped by the template. Figures and the page that sorts are named by their paths beside the
    report, which holds them once: see `study.report.report_page`.
    """
    best = comparison.best
    low, high = best.interval("test")
    sentences = answer(comparison, _escaped, _strong)
    sentences += map(_escaped, subgroup_facts(page.subgroups, best.name, comparison.confidence))
    conclusions, cost = page.conclusions.to_dict("records"), costs(comparison)
    hidden = {name for name, table in (("conclusions", conclusions), ("subgroups", page.subgroups)) if not len(table)}
    if not any(run.recipe.trains for run in comparison.runs):
        hidden |= {"curves", "map"}
    names = {group.name for group in shown(comparison.recipes.values())}
    effects, effects_left_out = largest_effects(page.effects)
    return environment().get_template("first_page.html.j2").render(
        page=page,
        heading=_heading(comparison),
        best=best.name,
        test=f"{best.accuracy('test'):.1%}",
        interval=f"{low:.1%} to {high:.1%}",
        level=level(comparison.confidence),
        baseline=_baseline(comparison),
        sentences=[Markup(sentence) for sentence in sentences],  # escaped by `answer`
        caution=caution(comparison),
        sections={anchor: name for anchor, name in SECTIONS.items() if anchor not in hidden},
        figures=_figures(comparison, page.figures),
        diagnoses=_diagnoses(page.diagnosis, names),
        undiagnosed=_undiagnosed(comparison, page.diagnosis, names),
        conclusions=conclusions,
        shows_reported=comparison.reported_protocol is not None,
        symbols=SYMBOLS,
        effects=[effect_row(row) for row in effects.to_dict("records")],
        effects_left_out=effects_left_out,
        cost_sentences=cost_in_words(cost),
        costs=[_cost_row(row) for row in cost.to_dict("records") if row["experiment"] in names or row["on_frontier"]],
        notes=[note for note in (comparability.note(comparison), page.note) if note],
        cases=[_case(comparison, case, page) for case in comparison.cases],
        case_note=case_note(comparison.several_seeds, comparison.confidence, comparison.units is not None),
        test_names=test_names(comparison.units is not None),
        ensemble=[_vote_row(row) for row in page.ensemble.to_dict("records")],
        audit=audit_facts(page.audit) + leakage_facts(page.leakage, best.name),
        leakage=[_leakage_row(row) for row in page.leakage.to_dict("records")
                 if (row["copied"] or row["near_copied"] > 0) and row["experiment"] in names],
        subgroups=[_subgroup_row(row) for row in page.subgroups.to_dict("records") if row["experiment"] == best.name],
        not_divided=not_divided(page.subgroups),
        words={"label_hints": hints_in_words(page.label_hints)},
        provenance=provenance_rows(comparison.runs),
    )  # fmt: skip


def _heading(comparison: Comparison) -> str:
    """What the best recipe is called: of several that all failed it is no winner."""
    if len(comparison.recipes) == 1:
        return "The only recipe"
    if all(group.failed for group in comparison.recipes.values()):
        return "Every recipe failed, the best of them"
    return "Best recipe"


def _baseline(comparison: Comparison) -> str:
    """What stands beside the best recipe's accuracy."""
    if (baseline := comparison.baseline) is None:
        return ""
    accuracy = f"always answering “{plain(baseline.name)}”: {baseline.accuracy['test']:.1%}"
    return f"not better than {accuracy}" if comparison.vs_baseline(comparison.best) == NOT_BETTER else accuracy


def _escaped(text: str) -> str:
    return str(escape(plain(text)))


def _strong(text: str) -> str:
    return f"<strong>{text}</strong>"


def _figures(comparison: Comparison, figures: Iterable[Figure]) -> dict[str, list[dict[str, Any]]]:
    """The figures of each section, in their order, as the template shows them.

    Of many recipes those `LOOKED_AT` have their own; the menu of the report has all.
    """
    groups = comparison.recipes.values()
    own = {group.name for group in (groups if len(groups) <= MOST else shown(groups, LOOKED_AT))}
    sections: dict[str, list[dict[str, Any]]] = {}
    recipes = {name: group.recipe for name, group in comparison.recipes.items()}
    for figure in figures:
        keys: list[Key] = keys_of(figure, recipes) or [""]
        for key in keys:
            if key in comparison.recipes and key not in own:
                continue
            mark = "✕ " if key in comparison.recipes and comparison.recipes[str(key)].failed else ""
            sections.setdefault(figure.section, []).append(
                {
                    "name": figure.name,
                    "key": key,
                    "file": f"figures/{figure.path(key)}",
                    "alt": figure.alt.format(key=key),
                    "heading": figure.heading,
                    "folded": figure.folded.format(key=key, mark=mark),
                    "open": key == comparison.best.name,
                    "wide": figure.wide,
                }
            )
    return sections


def _diagnoses(table: pd.DataFrame, names: Collection[str]) -> list[dict[str, Any]]:
    """What happened in the runs of these recipes, failures first."""
    several_seeds = len(set(table["seed"])) > 1
    rows = [
        {
            "name": f"{row['experiment']}, seed {row['seed']}" if several_seeds else row["experiment"],
            "outcome": row["outcome"].replace("_", " "),
            "failed": row["outcome"] in FAILURES,
            "text": row["what_happened"],
        }
        for row in table[table["experiment"].isin(names)].to_dict("records")
    ]
    return sorted(rows, key=lambda row: not row["failed"])


def _undiagnosed(comparison: Comparison, table: pd.DataFrame, names: Collection[str]) -> str:
    """How many runs are not among the `_diagnoses`, and which failed, in words; "" if all are."""
    hidden = int((~table["experiment"].isin(names)).sum())
    if not hidden:
        return ""
    failed = failures_counted(group for group in comparison.recipes.values() if group.name not in names)
    return f"{hidden:,} more runs are in tables/diagnosis.csv" + (f" (recipes: {failed})." if failed else ".")


def _points_of(row: Mapping[Any, Any], name: str) -> str:
    """The difference in a score and its interval in percentage points, of a row of effects.csv."""
    return with_interval(*(row[f"{name}_{end}"] for end in ("difference", "low", "high")))


def effect_row(row: Mapping[Any, Any]) -> dict[str, str]:
    """A row of effects.csv in words."""
    return {
        "treatment": row["treatment"],
        "change": row["change"],
        "pair": f"{row['experiment_from']} → {row['experiment_to']}",
        "accuracy": _points_of(row, "accuracy"),
        "balanced": _points_of(row, "balanced_accuracy"),
        "p": f"{row['p_holm']:.2g}",
        "verdict": row["verdict"] + (f" ({row['failed']})" if row["failed"] else ""),
    }


def _cost_row(row: Mapping[Any, Any]) -> dict[str, str]:
    shared = f" (that of {row['trained_as']})" if row["trained_as"] else ""
    started = f" (with that of {row['starts_from']})" if row["starts_from"] else ""
    ends = (row[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    return {
        "name": row["experiment"] + (f" ✕ {row['failure']}" if row["failure"] else ""),
        "seconds": duration(row["seconds"]) + shared + started,
        "total": duration(row["seconds_total"]),
        "memory": "–" if pd.isna(row["peak_memory_bytes"]) else f"{row['peak_memory_bytes'] / 2**30:.2f}",
        "parameters": "–" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}",
        "speed": "–" if pd.isna(row["images_per_second"]) else f"{row['images_per_second']:,.0f}",
        "accuracy": "{:.1%} ({:.1%}–{:.1%})".format(*ends),
        "frontier": "yes" if row["on_frontier"] else "",
    }


def _leakage_row(row: Mapping[Any, Any]) -> dict[str, str]:
    shares = [name for name in row if name.startswith("accuracy") and not name.endswith(("_low", "_high"))]
    cells = {name: "–" if pd.isna(row[name]) else f"{row[name]:.1%}" for name in shares}
    name, copied = f"{row['experiment']}, seed {row['seed']}", f"{row['copied']:,} of {row['images']:,}"
    near = "" if pd.isna(row["near_copied"]) else f"{row['near_copied']:,.0f}"
    return cells | {"name": name, "split": row["split"], "copied": copied, "near_copied": near}


def _subgroup_row(row: Mapping[Any, Any]) -> dict[str, str]:
    ends = (row[f"accuracy{end}"] for end in ("", "_low", "_high"))
    shares = ("balanced_accuracy", "rest_accuracy", "rest_balanced_accuracy")
    return {name: "–" if pd.isna(row[name]) else f"{row[name]:.1%}" for name in shares} | {
        "column": row["column"],
        "value": row["value"],
        "images": f"{row['images']:,.0f}",
        "accuracy": "{:.1%} ({:.1%}–{:.1%})".format(*ends),
        "difference": with_interval(*(row[f"difference{end}"] for end in ("", "_low", "_high"))),
        "p": "–" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}",
        "verdict": row["verdict"],
    }


def not_divided(table: pd.DataFrame) -> str:
    """Which columns of the manifest divide nothing, and why, in words; "" if all do."""
    rows = table[table["left_out"] != ""].to_dict("records")
    return some([f"{row['column']} ({row['left_out']})" for row in rows])


def hints_in_words(table: pd.DataFrame) -> list[str]:
    """How many labels may be wrong, and what to do about that; [] if there is no hint."""
    if table.empty:
        return []
    counts = [f"{(table['split'] == split).sum():,}" for split in EVALUATED_SPLITS]
    return [
        f"{counts[0]} validation and {counts[1]} test images are called by another class than their label by most of "
        f"the {table['recipes'].iloc[0]:.0f} good, different recipes; confident learning would count "
        f"{table['above_threshold'].sum():,.0f} of these as mislabelled. They are listed in tables/label_hints.csv, "
        "the likeliest mistakes first, and none is dropped. Training images have no predictions, so nothing is said of "
        "them.",
        "Careful with cleaning: these hints come from the models that are compared, so a test set cleaned with their "
        "help favours them. Have images of all classes alike labelled anew by people who see neither the label nor the "
        "answers.",
    ]


def _case(comparison: Comparison, case: int, page: FirstPage) -> dict[str, Any]:
    table = case_table(comparison, case)
    within = [group for group in comparison.recipes.values() if group.recipe.case == case]
    names = {group.name for group in shown(within)}
    kept = [0, *(k for k, name in enumerate(table.columns) if k and name in names)]
    table, left_out = table.iloc[:, kept], len(table.columns) - len(kept)
    return {
        "left_out": left_out,
        "number": case,
        "question": page.questions.get(str(case), ""),
        "names": list(table.columns[1:]),
        "rows": [(label, cells) for label, cells in case_cells(table) if label != "reason"],  # the diagnosis has it
        "remarks": case_remarks(table),
    }


def _vote_row(row: Mapping[Any, Any]) -> dict[str, str]:
    shown: dict[str, Callable[[Any], str]] = {
        "val_accuracy": "{:.1%}".format,
        "val_nll": "{:.3f}".format,
        "test_nll": "{:.3f}".format,
        "test_ece": "{:.3f}".format,
        "test_macro_f1": "{:.3f}".format,
    }
    p = row[MCNEMAR if MCNEMAR in row else SIGN_FLIP]
    cells = {key: "–" if pd.isna(row[key]) else show(row[key]) for key, show in shown.items()}
    cells["test_accuracy"] = "{:.1%} ({:.1%}–{:.1%})".format(
        *(row[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    )
    ends = [row[f"accuracy_difference{end}"] for end in ("", "_low", "_high")]
    cells["difference"] = "–" if pd.isna(ends[0]) else with_interval(*ends)
    return cells | {"name": str(row["name"]), "role": str(row["role"]), "p": "–" if pd.isna(p) else f"{p:.2g}"}


def provenance_rows(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What made the runs, from their run.json: (what, value), several values with how many runs each stands for.

    Of predictions from a file, its path and the first digits of its SHA-256.
    """
    imported = dict.fromkeys(_file_in_words(run) for run in runs if from_file(run.recipe))
    runs = [run for run in runs if run.recipe.trains]
    provenances = [run.record.get("provenance", {}) for run in runs]
    commits = [
        f"{p['git_commit'][:12]}{' with local changes' if p.get('git_dirty') else ''}" if p.get("git_commit") else ""
        for p in provenances
    ]
    values = {
        "commit": commits,
        "device": [str(run.record.get("device", "")) for run in runs],
        "precision": [str(run.record.get("precision", "")) for run in runs],
        "threads": [str(p.get("threads", "")) for p in provenances],
        "platform": [str(p.get("platform", "")) for p in provenances],
        "processor": [_processor(p) for p in provenances],
        "data": [p.get("data", "")[:12] for p in provenances],
        "training code": [p.get("code", "")[:12] for p in provenances],
        "settings": [p.get("settings", "")[:12] for p in provenances],
        "resumed": [f"{p['resumes']} time{'s' * (p['resumes'] > 1)}" if p.get("resumes") else "" for p in provenances],
        "parameters": [f"{run.record.get('parameters', 0):,}" for run in runs],
        **{
            package: [p.get("versions", {}).get(package, "") for p in provenances]
            for package in dict.fromkeys(name for p in provenances for name in p.get("versions", {}))
        },
    }
    rows = [(what, _counted(texts)) for what, texts in values.items() if any(texts)]
    seconds = sum(run.seconds for run in runs)
    if runs:
        each = "" if len(runs) == 1 else ", each on its own"
        count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
        rows.insert(0, ("training time", f"{seconds / 60:,.1f} minutes for {count}{each}"))
    days = sorted(p[end] for p in provenances for end in ("started", "ended") if p.get(end))
    rows += [("predictions from files", "; ".join(imported))] if imported else []
    return [("trained", f"{days[0]} to {days[-1]}"), *rows] if days else rows


def _file_in_words(run: Run) -> str:
    made = run.metrics[own_predictions.KEY]
    return f"{run.experiment}: {made['path']} ({made['sha256'][:12]})"


def _counted(values: Sequence[str]) -> str:
    counts = Counter(value for value in values if value)
    if len(counts) == 1 and all(values):
        return next(iter(counts))
    return "; ".join(f"{value} ({count} {'run' if count == 1 else 'runs'})" for value, count in counts.most_common())


def as_rst(html: str) -> str:
    """A raw block of reStructuredText. Every line break that docutils knows is followed by the block's indent."""
    return ".. raw:: html\n\n" + textwrap.indent("\n".join(html.splitlines()), "   ") + "\n"


def _processor(provenance: Mapping[str, Any]) -> str:
    """Its name; of runs by an earlier version, which did not note it, the instructions that PyTorch used."""
    if name := provenance.get("cpu"):
        return str(name)
    instructions = provenance.get("processor", "")
    return f"one with {instructions}, its name not noted" if instructions else ""
