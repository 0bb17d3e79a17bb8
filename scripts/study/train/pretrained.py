"""torchvision's pretrained weights: where they are published, and whether a file is them."""

from pathlib import Path

from study.errors import StudyError
from study.files import file_sha256

WEIGHTS = "IMAGENET1K_V1"


def published(model: str) -> tuple[str, str]:
    """Address of the ImageNet weights of a torchvision model, and the first digits (8 or 10) of the file's SHA-256.

    The digits end the file's name, the convention that `torch.hub.load_state_dict_from_url(check_hash=True)` checks.

    Raises:
        StudyError: torchvision has none for this model.
    """
    from torchvision.models import get_model_weights

    try:
        url = get_model_weights(model)[WEIGHTS].url
    except (ValueError, KeyError):
        raise StudyError(f"config key 'model.name': torchvision has no {WEIGHTS} weights for '{model}'") from None
    return url, Path(url).stem.rsplit("-", 1)[1]


def check(path: Path, model: str) -> None:
    """Make sure that a file, however it came here, is what torchvision publishes for `model`.

    Raises:
        StudyError: its SHA-256 is another one; it names both and says what to do.
    """
    url, digits = published(model)
    digest = file_sha256(path)
    if not digest.startswith(digits):
        raise StudyError(
            f"{path}: the file has the SHA-256 {digest}, allowed is one that begins with {digits}, torchvision's "
            f"{WEIGHTS} of {model}. Delete it and run again to have it fetched, or place the file of {url} there; to "
            "start from other weights, set the config key 'model.weights' to the path of their file"
        )
