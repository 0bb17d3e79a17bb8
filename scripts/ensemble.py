"""Choose the members of the ensemble on validation, let them vote, and score the vote on the test images once."""

import json
from pathlib import Path

from study.compare import ensemble
from study.compare.runs import load_runs
from study.evaluate.metrics import evaluate
from study.recipe import recipes_of
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    given, files, out = snakemake.params, snakemake.input, snakemake.output
    recipes = recipes_of(given.recipes)
    runs = load_runs(recipes, files.runs, files.metrics, predictions_files=files.predictions)
    chosen = ensemble.members(runs, given.metrics["ensemble_members"])
    votes = ensemble.vote(chosen)
    votes.to_csv(out.predictions, index=False, lineterminator="\n")
    scores = evaluate(votes, given.metrics["ece_bins"])
    Path(out.metrics).write_text(json.dumps(scores, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    settings = {"confidence": given.metrics["confidence"], "samples": given.metrics["bootstrap_samples"]}
    table = ensemble.ensemble_table(runs, chosen, **settings, ece_bins=given.metrics["ece_bins"])
    table.to_csv(out.table, index=False, lineterminator="\n")
    names = ", ".join(f"{run.experiment} (seed {run.seed})" for run in chosen)
    say(f"{names} vote: {scores['test']['accuracy']:.1%} of the test images right")
