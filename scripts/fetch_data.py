"""Download the data set that the configuration names, or say how to get it by hand."""

from study.fetch import fetch
from study.job import logged

with logged(snakemake.log[0]) as say:
    target, url, sha256 = snakemake.output[0], snakemake.params.url, snakemake.params.sha256
    what = "your images (config key 'data.source')"
    if "fer2013" in target:
        what = "the FER2013 images (on Kaggle as image folders, msambare/fer2013, or as fer2013.csv)"
    fetch(url, target, sha256=sha256, what=what)
    say(f"{target} downloaded from {url}, SHA-256 as expected")
