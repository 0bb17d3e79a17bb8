"""Download torchvision's ImageNet weights of a model once; every job reads the file."""

from study.data.fetch import fetch
from study.errors import StudyError
from study.rule_log import logged
from study.train.pretrained import published

with logged(snakemake.log[0]) as say:
    target, model = snakemake.output[0], snakemake.params.model
    if target != f"resources/weights/{model}.pth":
        raise StudyError(
            f"{target}: the file does not exist (config key 'model.weights'); place the state dict there, or set the "
            "key to the path of one, to imagenet or to none"
        )
    url, digits = published(model)
    url = snakemake.params.url or url
    mirror = "A mirror's address goes into the config key 'model.weights_url'."
    fetch(url, target, sha256=digits, what=f"torchvision's pretrained weights of {model}", hint=mirror)
    say(f"{target} downloaded from {url}, SHA-256 as expected")
