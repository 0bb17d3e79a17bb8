"""Read the predictions of a network that was made elsewhere, check them against the images, and score them."""

from pathlib import Path

from study.data import packed
from study.data.manifest import read_manifest
from study.evaluate import metrics, own_predictions
from study.evaluate.predictions import write_predictions
from study.files import write_json
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    params, files, out = snakemake.params, snakemake.input, snakemake.output
    images = own_predictions.Images.of(packed.load(Path(files.index).parent), read_manifest(Path(str(files.manifest))))
    imported = own_predictions.read(Path(str(files.file)), images, int(snakemake.wildcards.seed))
    write_predictions(imported.predictions, Path(out.predictions))
    scores = metrics.evaluate(imported.predictions.scores, params.ece_bins)
    write_json(scores | {own_predictions.KEY: imported.record()}, out.metrics)
    say(imported.in_words())
    say(metrics.in_lines(scores))
