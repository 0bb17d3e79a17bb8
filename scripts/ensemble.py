"""Choose the members of the ensemble on validation, let them vote, and score the vote on the test images once."""

from pathlib import Path

from study.compare import ensemble
from study.compare.comparison import Comparison
from study.compare.runs import load_runs
from study.data.manifest import read_groups
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import write_predictions
from study.files import write_json, write_table
from study.recipe import recipes_of
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    params, files, out = snakemake.params, snakemake.input, snakemake.output
    recipes, groups = recipes_of(params.recipes), read_groups(Path(files.manifest))
    runs = load_runs(recipes, files.runs, files.metrics, predictions_files=files.predictions, groups=groups)
    comparison = Comparison(runs, params.metrics)
    chosen = ensemble.members(comparison)
    votes = ensemble.vote(chosen)
    scores = evaluate(votes.scores, params.metrics["ece_bins"])
    write_predictions(votes, Path(out.predictions))
    write_json(scores, out.metrics)
    write_table(ensemble.ensemble_table(comparison, chosen, votes), out.ensemble)
    names = ", ".join(f"{run.experiment} (seed {run.seed})" for run in chosen)
    say(f"{names} vote: {scores['test']['accuracy']:.1%} of the test images right")
