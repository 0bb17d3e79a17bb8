"""Adjust the predictions of a run that is trained, as a row without training asks, and score what comes out."""

from pathlib import Path

from study.evaluate import adjustment, metrics
from study.files import read_json, write_json, write_table
from study.recipe import Recipe
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    params, files, out = snakemake.params, snakemake.input, snakemake.output
    recipe = Recipe.of(snakemake.wildcards.experiment, study={}, **params.recipe, **params.evaluation)
    counts = read_json(files.index)["splits"]["train"]["counts"]
    predictions, made = adjustment.adjust(metrics.read_predictions(files.predictions), recipe, counts)
    write_table(predictions, out.predictions)
    scores = metrics.evaluate(metrics.read_predictions(out.predictions), params.ece_bins)
    write_json(scores | {adjustment.KEY: made.record(Path(files.predictions))}, out.metrics)
    say(f"{recipe.experiment}, trained as {recipe.training}: {made.in_words()}")
    say(metrics.in_lines(scores))
