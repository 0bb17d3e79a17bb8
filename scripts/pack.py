"""Write the kept images of each split as one memory-mappable array."""

from pathlib import Path

from study.images import DataSettings
from study.job import logged
from study.manifest import read_manifest
from study.packing import pack

with logged(snakemake.log[0]) as say:
    manifest = read_manifest(Path(snakemake.input.manifest))
    directory = Path(snakemake.output.index).parent
    index = pack(manifest, DataSettings(**snakemake.params.data), directory, workers=snakemake.threads)
    for split, facts in index["splits"].items():
        say(f"{split}: {facts['images']} images, {index['channels']}×{index['image_size']}×{index['image_size']} uint8")
