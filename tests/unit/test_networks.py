"""What planning knows of torchvision's classifiers, compared with these."""

from pathlib import Path

import pytest
import torch
from torch import nn

from study import networks
from study.errors import StudyError
from study.networks import EXCLUDED, NETWORKS, PATCHES, problems, timm_names
from study.settings import UNPUBLISHED
from study.train import models
from study.train.pretrained import WEIGHTS

SMALL = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_y_400mf", "resnet18", "resnet50", "shufflenet_v2_x0_5", "swin_t", "vgg11", "vgg11_bn"),
)  # one of each family


def test_every_classifier_is_known() -> None:
    import torchvision.models

    names = torchvision.models.list_models(module=torchvision.models)
    assert sorted([*NETWORKS, *EXCLUDED]) == sorted(names)


def test_what_has_no_published_weights_is_known() -> None:
    from torchvision.models import get_model_weights

    assert sorted(UNPUBLISHED) == [
        name for name in sorted(NETWORKS) if WEIGHTS not in get_model_weights(name).__members__
    ]


def trains(network: nn.Module, batch: int, size: int) -> bool:
    """Whether a training step's forward pass is possible; on the meta device it takes neither time nor memory."""
    try:
        network.train()(torch.zeros(batch, 3, size, size, device="meta"))
    except (RuntimeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_images_are_the_smallest_that_it_trains_on(name: str) -> None:
    settings = models.ModelSettings(name, head_hidden=8)
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # drawing the weights of regnet needs values
        network = models._build(settings, 3, models.PATCHES.get(name, 224))
    network = network.to("meta")
    known = NETWORKS[name]
    for batch, least in ((2, known.least), (1, known.least_alone)):
        assert trains(network, batch, least)
        assert least == 8 or not trains(network, batch, least - 1)


def test_a_name_that_is_close_and_one_that_is_not() -> None:
    assert [*problems("vgg19", 0.25, 32), *problems("resnet18", 1, 8)] == []
    for name, words in (("vg19", "did you mean vgg19"), ("bert", "allowed: alexnet, convnext_base, ")):
        [(column, found, rule)] = problems(name, 1, 32)
        assert (column, found) == ("model.name", repr(name)) and rule.startswith(words)


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_is_left_out_is_said_with_the_reason(name: str) -> None:
    [(column, _, rule)] = problems(name, 1, 224)
    assert column == "model.name" and f"cannot be trained here: {EXCLUDED[name]}; allowed: " in rule


@pytest.mark.parametrize("name", ["vit_b_16", "vit_b_32", "vit_h_14"])
def test_patches_divide_the_image(name: str) -> None:
    patch = PATCHES[name]
    assert not [*problems(name, 1, 2 * patch)]
    for side in (2 * patch + 1, 3 * patch - 1):
        [(column, found, rule)] = problems(name, 1, side)
        assert (column, found) == ("data.image_size", str(side)) and rule.startswith(
            f"allowed is a multiple of {patch} "
        )
    with torch.device("meta"):
        network = models._build(models.ModelSettings(name, head_hidden=8), 3, 2 * patch)
    assert network(torch.zeros(2, 3, 2 * patch, 2 * patch, device="meta")).shape == (2, 3)


def test_timm_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "timm_names", lambda: None)
    assert [*problems("timm/resnet18", 1, 32)] == [
        (
            "model.name",
            "'timm/resnet18'",
            "which needs the package timm, which is not installed: .venv/bin/python -m pip install timm",
        )
    ]


class TestTimm:
    """With the package timm, an optional one; see README.md."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("timm", reason="the optional package timm is not installed")

    def test_names_are_those_that_it_lists_itself(self) -> None:
        import timm

        assert timm_names() == set(timm.list_models())

    def test_a_name_that_is_close_one_with_a_tag_and_a_width(self) -> None:
        for name in ("timm/resnet81", "timm/resnet18.a1_in1k"):
            [(column, found, rule)] = problems(name, 1, 32)
            assert (column, found) == ("model.name", repr(name)) and rule.startswith("did you mean timm/resnet18")
        assert not [*problems("timm/resnet18", 1, 32)]
        assert [column for column, *_ in problems("timm/resnet18", 0.5, 32)] == ["model.width"]

    @pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224", "convnext_atto"])
    def test_gets_the_studys_head_and_takes_timms_own_weights(self, name: str, tmp_path: Path) -> None:
        import timm

        torch.manual_seed(1)
        size = {"img_size": 32} if name.startswith("vit") else {}
        theirs = timm.create_model(name, pretrained=False, **size)
        torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
        settings = models.ModelSettings(f"timm/{name}", head_hidden=8)
        network = models.build(settings, 5, 32, 0, tmp_path / "theirs.pth").eval()
        theirs.reset_classifier(0)
        path, head = models.head_of(network)
        images = torch.randn(2, 3, 32, 32)
        assert (head[0].out_features, head[3].out_features, path) == (8, 5, theirs.default_cfg["classifier"])
        assert torch.equal(network(images), head(theirs.eval()(images)))

    def test_what_is_none_of_a_classifier_here(self) -> None:
        for name, side, words in (
            ("inception_v3", 32, "'data.image_size' is 32, which timm/inception_v3 does not take"),
            ("deit_tiny_distilled_patch16_224", 32, "whose classifier is no linear layer"),
        ):
            with pytest.raises(StudyError, match=words):
                models.build(models.ModelSettings(f"timm/{name}"), 3, side, 0)
