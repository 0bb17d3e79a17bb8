"""Class weights from the training split alone."""

import pandas as pd

from study.data.class_weights import class_weights
from study.files import read_json, write_table
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    index = read_json(snakemake.input.index)
    counts = [index["splits"]["train"]["counts"][name] for name in index["classes"]]
    scheme, beta = snakemake.params.scheme
    weights = class_weights(counts, scheme, beta)
    table = pd.DataFrame({"class": index["classes"], "count": counts, "weight": weights})
    write_table(table, snakemake.output[0])
    say(f"{scheme}: " + ", ".join(f"{c} {w:.4f}" for c, w in zip(table["class"], weights, strict=True)))
