"""How far a measured accuracy can be put beside a reported one: what the reported one was made with, and what is here.

Entry points (runs come from `study.compare.runs.load_runs`, settings from `study.settings.compared`):
    differing(settings, run) -> sentences' parts           what is otherwise in one run
    short(settings, runs) -> {experiment: text}            the same in a few words, for a cell
    note(settings, runs) -> str                            one paragraph for all runs; "" if nothing differs
"""

from collections.abc import Mapping, Sequence
from typing import Any

from study.compare.questionable import value_text
from study.compare.runs import Run, by_experiment

Compared = Mapping[str, Sequence[Any]]

PRECISION = "training.precision"  # of this the run itself knows best: "auto" is another one on another machine


def differing(settings: Compared, run: Run) -> dict[str, tuple[Any, Any]]:
    """What of the settings is otherwise in this run than in the reported one: key -> (here, reported)."""
    unlike = {}
    for key, (here, reported) in settings.items():
        actual = run.record["precision"] if key == PRECISION else here
        if actual != reported:
            unlike[key] = (actual, reported)
    if run.record["max_epochs"] < run.recipe.max_epochs:
        unlike["max_epochs"] = (run.record["max_epochs"], run.recipe.max_epochs)
    return unlike


def short(settings: Compared, runs: Sequence[Run]) -> dict[str, str]:
    """Per experiment the names of what differs, such as "weights, width, max_epochs"; "" if nothing does."""
    return {
        name: ", ".join(dict.fromkeys(key.rpartition(".")[2] for run in group for key in differing(settings, run)))
        for name, group in by_experiment(runs).items()
    }


def note(settings: Compared, runs: Sequence[Run]) -> str:
    """One paragraph: what the reported accuracies of these runs were made with, and what is here instead."""
    values: dict[str, list[tuple[Any, Any]]] = {}
    for run in runs:
        if run.recipe.reported is not None:
            for key, pair in differing(settings, run).items():
                values.setdefault(key, []).append(pair)
    if not values:
        return ""
    parts = []
    for key, pairs in values.items():
        here, reported = (", ".join(dict.fromkeys(map(value_text, side))) for side in zip(*pairs, strict=True))
        parts.append(f"{key} {reported} (here {here})")
    return (
        "Reported and measured accuracies are not comparable as they stand. The reported ones were obtained with "
        + "; ".join(parts)
        + "."
    )
