"""Write the kept images of each split as one memory-mappable array."""

from pathlib import Path

from study.data.data_settings import DataSettings
from study.data.manifest import read_manifest
from study.data.packing import pack
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    manifest = read_manifest(Path(snakemake.input.manifest))
    directory = Path(snakemake.output.index).parent
    index = pack(manifest, DataSettings(**snakemake.params.data), directory, workers=snakemake.threads)
    for split, facts in index["splits"].items():
        say(f"{split}: {facts['images']} images, {index['channels']}×{index['image_size']}×{index['image_size']} uint8")
