"""Write the kept images of each split as one memory-mappable array."""

from pathlib import Path

import pandas as pd

from study.images import DataSettings
from study.job import logged
from study.packing import pack

with logged(snakemake.log[0]) as say:
    manifest = pd.read_csv(snakemake.input.manifest, dtype=str, keep_default_na=False)
    directory = Path(snakemake.output.index).parent
    index = pack(manifest, DataSettings(**snakemake.params.data), directory, workers=snakemake.threads)
    for split, facts in index["splits"].items():
        say(f"{split}: {facts['images']} images, {index['channels']}×{index['image_size']}×{index['image_size']} uint8")
