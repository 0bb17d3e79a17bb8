"""Class weights from the training split alone."""

import json
from pathlib import Path

import pandas as pd

from study.data.class_weights import class_weights
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    index = json.loads(Path(snakemake.input.index).read_text(encoding="utf-8"))
    counts = [index["splits"]["train"]["counts"][name] for name in index["classes"]]
    weights = class_weights(counts, snakemake.params.scheme, snakemake.params.beta)
    table = pd.DataFrame({"class": index["classes"], "count": counts, "weight": weights})
    table.to_csv(snakemake.output[0], index=False, lineterminator="\n")
    say(
        f"{snakemake.params.scheme}: " + ", ".join(f"{c} {w:.4f}" for c, w in zip(table["class"], weights, strict=True))
    )
