"""Download torchvision's ImageNet weights of a model once; every job reads the file."""

from pathlib import Path

from study.errors import StudyError
from study.fetch import fetch
from study.job import logged

with logged(snakemake.log[0]) as say:
    target, model = Path(snakemake.output[0]), snakemake.params.model
    if snakemake.params.weights != "imagenet":
        raise StudyError(f"{target}: no such file (config key 'model.weights')")
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(model)["IMAGENET1K_V1"]
    except (ValueError, KeyError):
        raise StudyError(f"model '{model}': torchvision has no IMAGENET1K_V1 weights for it") from None
    # torchvision ends the file's name in the first eight digits of its SHA-256
    digits = Path(weights.url).stem.rsplit("-", 1)[1]
    fetch(weights.url, target, sha256=digits, what=f"the pretrained weights of {model}")
    say(f"{target} downloaded from {weights.url}, SHA-256 as expected")
