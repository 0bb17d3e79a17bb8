"""Download the data set that the configuration names, or say how to get it by hand."""

from study.errors import StudyError
from study.fetch import fetch
from study.job import logged

with logged(snakemake.log[0]) as say:
    target, url, sha256 = snakemake.output[0], snakemake.params.url, snakemake.params.sha256
    if not url:
        kaggle = "; FER2013 is on Kaggle, as image folders (msambare/fer2013, zipped) or as fer2013.csv"
        hint = kaggle if "fer2013" in target else ""
        raise StudyError(
            f"{target}: no such file or folder (config key 'data.source') and no 'data.url' to fetch it from. "
            f"Place your images there, or change 'data.source'{hint}."
        )
    fetch(url, target, sha256=sha256)
    say(f"{target} downloaded from {url}, SHA-256 as expected")
