"""Draw every figure of the study."""

import json
from pathlib import Path

import pandas as pd

from study.compare.runs import choose, load_runs
from study.data import packed
from study.recipe import recipes_of
from study.report import figures
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    given, files, out = snakemake.params, snakemake.input, snakemake.output
    recipes = recipes_of(given.recipes)
    runs = load_runs(recipes, files.runs, files.metrics, files.histories, files.predictions)
    confidence = given.metrics["confidence"]
    figures.comparison(runs, confidence, given.reported, out.comparison)
    figures.effects(pd.read_csv(str(files.effects)), out.effects)
    figures.recall(runs, out.recall)
    figures.class_recall(runs, confidence, out.class_recall)
    figures.reliability(runs, given.metrics["ece_bins"], out.reliability)
    index = json.loads(Path(files.index).read_text(encoding="utf-8"))
    for optimizer, path in zip(given.optimizers, out.lr_batch, strict=True):
        figures.lr_batch(runs, optimizer, index["splits"]["train"]["images"], path)
    for case, path in zip(given.cases, out.cases, strict=True):
        figures.case_curves(runs, case, given.questions.get(str(case), ""), path)
    for experiment, curves, confusion in zip(recipes, out.curves, out.confusion, strict=True):
        figures.curves(runs, experiment, curves)
        figures.confusion(runs, experiment, confusion)
    weights = pd.read_csv(str(files.class_weights), dtype={"class": str}, keep_default_na=False)
    figures.class_counts(index, weights, out.class_counts)
    data = packed.load(Path(files.index).parent)
    figures.samples(data.images["train"], data.labels["train"], data.classes, out.samples)
    figures.confused_pairs(runs, choose(runs), data.images["test"], data.image_ids["test"], out.confused)
    say(f"{len(out)} figures in {Path(out.comparison).parent}")
