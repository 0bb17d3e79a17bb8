"""Every table of a study by the name of its file: what rule `tables` writes and `verify` makes again."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from study.compare import comparability, tables
from study.compare.conclusions import conclusions
from study.compare.diagnosis import diagnoses
from study.compare.effects import effects
from study.compare.leakage import leakage
from study.compare.runs import Run


def every_table(
    runs: Sequence[Run],
    manifest: pd.DataFrame,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    class_weights: pd.DataFrame,
    compared: comparability.Compared | None,
) -> dict[str, pd.DataFrame]:
    """The tables as they are written with `to_csv(index=False)`.

    Args:
        runs: with histories and predictions.
        manifest: as `study.data.manifest.read_manifest` gives it.
        metrics, training: these sections of the configuration.
        class_weights: as `study.data.class_weights.read_class_weights` gives it.
        compared: see `study.settings.compared`; None leaves the reported values out.
    """
    confidence, samples = metrics["confidence"], metrics["bootstrap_samples"]
    unlike = None if compared is None else comparability.short(compared, runs)
    pairs = tables.pairwise(runs, confidence, samples)
    made = {
        f"case_{case}.csv": tables.case_table(runs, case, confidence, samples, unlike)
        for case in sorted({run.case for run in runs})
    }
    return made | {
        "comparison.csv": tables.comparison(runs, confidence, samples, compared is not None),
        "pairwise.csv": pairs,
        "effects.csv": effects(pairs, runs, confidence),
        "conclusions.csv": conclusions(runs, confidence, samples),
        "leakage.csv": leakage(runs, manifest, confidence),
        "diagnosis.csv": diagnoses(
            runs, training, dict(zip(class_weights["class"], class_weights["weight"], strict=True))
        ),
    }
