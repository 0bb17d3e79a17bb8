import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from study.errors import StudyError
from study.train import models
from study.train.models import ModelSettings, build, parameter_count

ROOT = Path(__file__).parents[3]
NARROW = ModelSettings(name="vgg11", width=0.0625, head_hidden=8)


def narrow(seed: int = 0, weights: Path | None = None, **changes: object) -> nn.Module:
    return build(replace(NARROW, **changes), classes=3, image_size=32, seed=seed, weights=weights)


class TestVgg:
    def test_the_studys_vgg19_has_20_157_511_parameters(self):
        model = build(ModelSettings(name="vgg19"), classes=7, image_size=48, seed=0)
        assert parameter_count(model) == 20_157_511

    def test_layers_of_vgg19_and_its_head(self):
        model = build(ModelSettings(name="vgg19", width=0.25), 7, 48, 0)
        kinds = [type(layer) for layer in model.features]
        assert (kinds.count(nn.Conv2d), kinds.count(nn.MaxPool2d)) == (16, 5)
        assert [type(layer).__name__ for layer in model.head] == ["Linear", "ReLU", "Dropout", "Linear"]
        assert (model.head[0].in_features, model.head[0].out_features, model.head[2].p) == (128, 256, 0.1)

    @pytest.mark.parametrize("name", [f"{name}{norm}" for name in models.VGG for norm in ("", "_bn")])
    def test_features_are_torchvisions(self, name):
        from torchvision.models.vgg import cfgs, make_layers

        letter = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}[name.removesuffix("_bn")]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            theirs = make_layers(cfgs[letter], batch_norm=name.endswith("_bn")).eval()
            for layer in theirs:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        ours = build(ModelSettings(name=name), 3, 32, 0).eval()
        assert repr(ours.features) == repr(theirs)
        x = torch.randn(2, 3, 32, 32)
        assert torch.equal(ours.features(x), theirs(x)), "initial weights too, in the order they are drawn"

    def test_building_one_loads_neither_torchvision_nor_the_compiler(self):
        code = (
            "import sys; from study.evaluate import prediction; from study.train import models; "
            "models.build(models.ModelSettings('vgg19', 0.125), 3, 32, 0); "
            "print({'torchvision', 'torch._dynamo'} & set(sys.modules))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "scripts"}, cwd=ROOT,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert found.stdout == "set()\n"

    @pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
    def test_every_width(self, name):
        model = build(ModelSettings(name=name, width=0.125), 5, 32, 0)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
        assert model.features[0].out_channels == 8


class TestTorchvision:
    @pytest.mark.parametrize(
        "name",
        ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "densenet121", "shufflenet_v2_x0_5"],
    )
    def test_classifiers_get_the_studys_head(self, name):
        model = build(ModelSettings(name=name, head_hidden=8), 5, 64, 0)
        assert model(torch.randn(2, 3, 64, 64)).shape == (2, 5)
        linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        assert [layer.out_features for layer in linear[-2:]] == [8, 5]


class TestInitialWeights:
    def test_follow_from_the_seed_alone(self):
        first = narrow().state_dict()
        torch.rand(9)
        same, other = narrow().state_dict(), narrow(seed=1).state_dict()
        assert all(torch.equal(first[key], same[key]) for key in first)
        assert not torch.equal(first["features.0.weight"], other["features.0.weight"])

    def test_leave_the_global_generator_alone(self):
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        narrow()
        assert torch.equal(torch.rand(3), expected)

    def test_are_kaimings_for_convolutions(self):
        weight = build(ModelSettings(name="vgg11"), 3, 32, 0).features[3].weight
        assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


class TestFrozenBackbone:
    @pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v3_small", "swin_t"])
    def test_computes_the_same_in_every_step_while_the_head_is_trained(self, name):
        model = build(ModelSettings(name=name, head_hidden=8, dropout=0.5, freeze="backbone"), 5, 32, 0)
        path, head = models.head_of(model)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        seen: list[torch.Tensor] = []
        head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        images = torch.randn(4, 3, 32, 32)
        first, second = model(images), model(images)
        assert torch.equal(*seen) and not torch.equal(first, second)  # dropout in the head alone
        first.sum().backward()
        assert {name for name, p in model.named_parameters() if p.grad is not None} == {
            name for name, _ in model.named_parameters() if name.startswith(f"{path}.")
        }
        models.train_mode(model.eval())
        assert head.training and not any(m.training for m in set(model.modules()) - set(head.modules()))
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())

    def test_without_one_everything_trains(self):
        model = narrow().eval()
        assert all(module.training for module in models.train_mode(model).modules())
        assert parameter_count(model) == parameter_count(model, trained=True)


@pytest.mark.parametrize(
    ("changes", "size", "words"),
    [
        ({"name": "vg19"}, 32, "'model.name' is 'vg19', did you mean vgg19"),
        (
            {"name": "resnet18", "width": 0.5},
            32,
            "'model.width' is 0.5, allowed for resnet18 is 1; only the VGG family",
        ),
        ({}, 28, "'data.image_size' is 28, allowed is at least 32 with 'model.name: vgg11'"),
    ],
)
def test_what_there_is_no_network_for(changes, size, words):
    with pytest.raises(StudyError, match=f"^config key {words}"):
        build(replace(NARROW, **changes), 3, size, 0)


class TestLoadWeights:
    """Files are made from a model with seed 1, loaded into one with seed 0."""

    def saved(self, path: Path, keep: str = "", **extra: torch.Tensor) -> Path:
        state = {key: value for key, value in narrow(1).state_dict().items() if key.startswith(keep)}
        state |= {key.replace("__", "."): value for key, value in extra.items()}
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
        return path

    @pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
    def test_full_state(self, tmp_path, name):
        state, expected = narrow(0, self.saved(tmp_path / name)).state_dict(), narrow(1).state_dict()
        assert all(torch.equal(state[key], expected[key]) for key in expected)

    def test_a_normalised_head_gives_s_times_cosines(self):
        """By numpy; whatever the length of features and directions."""
        head = build(replace(NARROW, head_scale=30.0), 5, 32, 0).head
        features = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        logits = head[3](features).detach().numpy()
        x, w = features.numpy(), head[3].directions.detach().numpy()
        cosines = (x @ w.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(w, axis=1))
        np.testing.assert_allclose(logits, 30 * cosines, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1, rtol=1e-6)
        assert (head[3](torch.zeros(1, 8)) == 0).all()

    def test_a_normalised_head_leaves_the_other_initial_weights(self):
        plain, normed = (build(replace(NARROW, head_scale=s), 5, 32, 0).state_dict() for s in (None, 30.0))
        shared = plain.keys() & normed.keys()
        assert plain.keys() - shared == {"head.3.weight", "head.3.bias"} and normed.keys() - shared == {
            "head.3.directions"
        }
        assert all(torch.equal(plain[key], normed[key]) for key in shared)

    def test_a_linear_head_is_no_normalised_one(self, tmp_path):
        for one, other in ((None, 30.0), (30.0, None)):
            path = tmp_path / "weights.pth"
            torch.save(build(replace(NARROW, head_scale=one), 5, 32, 0).state_dict(), path)
            with pytest.raises(StudyError, match=r"not in the model: head\.3"):
                build(replace(NARROW, head_scale=other), 5, 32, 0, path)

    def test_backbone_only_leaves_the_head_as_drawn(self, tmp_path):
        state = narrow(0, self.saved(tmp_path / "weights.pth", keep="features")).state_dict()
        drawn, loaded = narrow(0).state_dict(), narrow(1).state_dict()
        for key in state:
            assert torch.equal(state[key], (drawn if key.startswith("head") else loaded)[key]), key

    def test_imagenets_own_classifier_is_ignored(self, tmp_path):
        path = self.saved(tmp_path / "vgg.pth", "features", classifier__0__weight=torch.zeros(9, 9))
        assert torch.equal(narrow(0, path).features[0].weight, narrow(1).features[0].weight)

    @pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
    def test_torchvisions_files_fit(self, tmp_path, name):
        import torchvision.models

        original = torchvision.models.get_model(name, weights=None)
        torch.save(original.state_dict(), tmp_path / "weights.pth")
        model = build(ModelSettings(name=name), 3, 64, 0, tmp_path / "weights.pth")
        key = next(key for key in model.state_dict() if key.endswith("weight"))
        assert torch.equal(model.state_dict()[key], original.state_dict()[key])

    def test_missing_keys(self, tmp_path):
        path = self.saved(tmp_path / "weights.pth", keep="features.0")
        with pytest.raises(StudyError, match=r"weights.pth: .*; missing: features.3.weight, features.3.bias, .* more$"):
            narrow(0, path)

    def test_unknown_keys(self, tmp_path):
        path = self.saved(tmp_path / "weights.pth", features__99__weight=torch.zeros(1))
        with pytest.raises(StudyError, match=r"; not in the model: features.99.weight$"):
            narrow(0, path)

    def test_other_shapes(self, tmp_path):
        path = self.saved(tmp_path / "weights.pth", features__0__weight=torch.zeros(8, 1, 3, 3))
        expected = r"; of another shape: features.0.weight \(8, 1, 3, 3\) instead of \(4, 3, 3, 3\)$"
        with pytest.raises(StudyError, match=expected):
            narrow(0, path)

    def test_another_number_of_classes(self, tmp_path):
        path = self.saved(tmp_path / "weights.pth")
        with pytest.raises(StudyError, match=r"head.3.weight \(3, 8\) instead of \(5, 8\), head.3.bias"):
            build(NARROW, 5, 32, 0, path)

    def test_no_file(self, tmp_path):
        for name in ("absent.pth", "absent.safetensors"):
            with pytest.raises(StudyError, match=rf"{name}: the file of weights does not exist"):
                narrow(0, tmp_path / name)

    def test_code_in_a_file_is_not_run(self, tmp_path):
        torch.save(narrow(), tmp_path / "model.pth")
        with pytest.raises(StudyError, match=r"model.pth: not readable as a file of tensors, allowed is a state dict"):
            narrow(0, tmp_path / "model.pth")

    @pytest.mark.parametrize("name", ["text.pth", "text.safetensors"])
    def test_not_weights_at_all(self, tmp_path, name):
        (tmp_path / name).write_text("hello, this is no file of tensors")
        with pytest.raises(StudyError, match=f"{name}: not readable as a file of tensors"):
            narrow(0, tmp_path / name)

    def test_a_checkpoint_is_no_state_dict(self, tmp_path):
        torch.save({"epoch": 3, "state_dict": narrow().state_dict()}, tmp_path / "checkpoint.pth")
        with pytest.raises(StudyError, match=r"checkpoint.pth: allowed is a state dict, a flat mapping"):
            narrow(0, tmp_path / "checkpoint.pth")
