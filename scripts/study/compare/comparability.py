"""How far a measured accuracy can be put beside a reported one: what the reported one was made with, and what is here.

Entry points:
    differing(protocol, run) -> {key: (here, reported)}    what is otherwise in one run
    in_short(comparison) -> {experiment: text}             the same in a few words, for a cell
    note(comparison) -> str                                one paragraph for all runs; "" if nothing differs
"""

from collections.abc import Mapping, Sequence
from typing import Any

from study.compare.comparison import Comparison
from study.compare.questionable import value_text
from study.compare.runs import Run
from study.elsewhere import from_file

PRECISION = "training.precision"  # of this the run itself knows best: "auto" is another one on another machine


def differing(protocol: Mapping[str, Sequence[Any]], run: Run) -> dict[str, tuple[Any, Any]]:
    """What of the reported protocol is otherwise in this run: key -> (here, reported).

    Args:
        protocol: see `study.settings.reported_protocol`.
    """
    if from_file(run.recipe):  # of which nothing is known
        return {}
    differs_in = {}
    for key, (here, reported) in protocol.items():
        actual = run.record["precision"] if key == PRECISION else run.recipe.hyperparameters.get(key, here)
        if actual != reported:
            differs_in[key] = (actual, reported)
    if run.record["max_epochs"] < run.recipe.max_epochs:
        differs_in["max_epochs"] = (run.record["max_epochs"], run.recipe.max_epochs)
    return differs_in


def in_short(comparison: Comparison) -> dict[str, str]:
    """Per experiment the names of what differs, such as "weights, width, max_epochs"; "" if nothing does."""
    protocol = comparison.reported_protocol or {}
    return {
        name: ", ".join(dict.fromkeys(key.rpartition(".")[2] for run in group for key in differing(protocol, run)))
        for name, group in comparison.recipes.items()
    }


def note(comparison: Comparison) -> str:
    """One paragraph: what the reported accuracies of these runs were made with, and what is here instead."""
    values: dict[str, list[tuple[Any, Any]]] = {}
    for run in comparison.runs:
        if comparison.reported_protocol is not None and run.recipe.reported is not None:
            for key, pair in differing(comparison.reported_protocol, run).items():
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
