"""Adjust the predictions of a run that is trained, as a row without training asks, and score what comes out."""

from pathlib import Path

from study.evaluate import adjustment, metrics
from study.evaluate.predictions import read_predictions, write_predictions
from study.files import read_json, write_json
from study.recipe import Recipe
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    params, files, out = snakemake.params, snakemake.input, snakemake.output
    recipe = Recipe.of(snakemake.wildcards.experiment, study={}, **params.recipe, **params.evaluation)
    counts = read_json(files.index)["splits"]["train"]["counts"]
    predictions, made = adjustment.adjust(read_predictions(files.predictions), recipe, counts)
    write_predictions(predictions, Path(out.predictions))
    scores = metrics.evaluate(predictions.scores, params.ece_bins)
    write_json(scores | {adjustment.KEY: made.record(Path(files.predictions))}, out.metrics)
    say(f"{recipe.experiment}, trained as {recipe.training}: {made.in_words()}")
    say(metrics.in_lines(scores))
