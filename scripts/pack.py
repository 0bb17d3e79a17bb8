"""Write the kept images of each split as one memory-mappable array."""

from pathlib import Path

from study.batch_sizes import check_batch_sizes
from study.data.data_settings import DataSettings
from study.data.manifest import read_manifest
from study.data.packing import pack
from study.files import read_json
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    manifest = read_manifest(Path(snakemake.input.manifest))
    directory = Path(snakemake.output.index).parent
    # Not from params: the recipes decide nothing about the images. Planning left them; without, each training asks.
    if (study := directory.parent / "study.json").exists():
        recipes = read_json(study)["recipes"].items()
        images = ((manifest["status"] == "kept") & (manifest["split"] == "train")).sum()
        check_batch_sizes({name: fields["hyperparameters"]["batch_size"] for name, fields in recipes}, int(images))
    index = pack(manifest, DataSettings(**snakemake.params.data), directory, workers=snakemake.threads)
    for split, facts in index["splits"].items():
        side = index.get("stored_size", index["image_size"])
        say(f"{split}: {facts['images']} images, {index['channels']}×{side}×{side} uint8")
