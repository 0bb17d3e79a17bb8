"""Bad input through real Snakemake: one clear message on the terminal, nothing half-written."""

from pathlib import Path

import numpy as np
import pytest
from conftest import RECIPES, Workspace
from PIL import Image


def refused(workspace: Workspace, *arguments: str) -> str:
    """What Snakemake says when it ends with an error."""
    run = workspace.snakemake(*arguments, check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    return run.stdout


def results(workspace: Workspace) -> list[str]:
    """Files that a failed run left, other than logs and the plan."""
    root = workspace.root / "results"
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.name != "study.json"]
    return [str(path) for path in files if "logs" not in path.parts]


def image_folder(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """A folder of small random grayscale images, `counts` per class."""
    noise = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for n in range(count):
            Image.fromarray(noise.integers(0, 255, (32, 32), np.uint8)).save(root / name / f"{n}.png")
    return root


def test_an_unknown_key_stops_the_planning(workspace: Workspace) -> None:
    workspace.configure(sedes=[1])
    assert "unknown key 'sedes', did you mean 'seeds'?" in refused(workspace, "--dry-run")


def test_lists_and_sections_of_the_command_line_are_taken(workspace: Workspace) -> None:
    given = ("--config", "seeds=[0,1,2]", "model={width: 0.25}", "training={max_epochs: null}")
    assert workspace.planned(*given)["train"] == 6


def test_a_wrong_cell_stops_the_planning(workspace: Workspace) -> None:
    table = workspace.root / "config/small.tsv"
    table.write_text(RECIPES.replace("SGD", "SDG"), encoding="utf-8")
    text = refused(workspace, "--dry-run")
    assert "config/small.tsv, row 2, column 'optimizer': found 'SDG', allowed is one of SGD, Adam" in text


def test_a_class_too_small_is_named(workspace: Workspace) -> None:
    image_folder(workspace.root / "images", {"common": 40, "rare": 2})
    workspace.configure(data={"source": "images"})
    assert "class 'rare'" in refused(workspace)
    assert results(workspace) == []


def test_a_batch_larger_than_the_training_set(workspace: Workspace) -> None:
    image_folder(workspace.root / "images", {"a": 40, "b": 40})
    workspace.configure(data={"source": "images"})
    text = refused(workspace)
    assert (
        "experiment 'plain', column 'batch_size': found 64, allowed is at most the number of training images, 56"
        "; the same in weighted" in text
    )
    assert not [name for name in results(workspace) if name.startswith("small/train")]
    assert not list((workspace.root / "results/small/logs").glob("train*")), "no training was started"


def test_cuda_without_cuda(finished_copy: Workspace) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    finished_copy.configure(training={"device": "cuda"})
    text = refused(finished_copy, "--forcerun", "train", "--", "results/small/train/plain/seed_0/run.json")
    assert "cuda" in text and "training.device" in text


def test_folders_that_can_be_read_in_two_ways_stop_until_the_configuration_tells(workspace: Workspace) -> None:
    folders = {f"pv/{variant}/{label}": 100 for variant in ("color", "gray") for label in ("apple", "corn")}
    image_folder(workspace.root / "images", folders)
    workspace.configure(data={"source": "images"})
    target = ("--", "results/small/data/pack.json")
    text = refused(workspace, *target)
    assert "Error: images, 'pv': it cannot be told which folders the classes are" in text
    assert "data.folder: pv/color" in text and results(workspace) == []
    workspace.configure(data={"folder": "pv/colour"})
    assert "config key data.folder: no folder 'colour' in 'pv' of images; found: 'color', 'gray'" in refused(
        workspace, *target
    )
    workspace.configure(data={"folder": "pv/color"})
    workspace.snakemake(*target)
    manifest = (workspace.root / "results/small/data/manifest.csv").read_text(encoding="utf-8").splitlines()
    assert len(manifest) == 201 and all(row.startswith("pv/color/") for row in manifest[1:])
    workspace.configure(data={"folder": "pv/gray"})
    assert workspace.planned(*target) == {"manifest": 1, "pack": 1}


def test_unreadable_files_up_to_the_configured_share_are_dropped_with_a_reason(workspace: Workspace) -> None:
    folder = image_folder(workspace.root / "images", {"a": 100, "b": 100})
    (folder / "a/broken.png").write_bytes((folder / "a/0.png").read_bytes()[:100])
    (folder / "b/text.jpg").write_text("no image")
    workspace.configure(data={"source": "images", "max_unreadable": 0.05})
    workspace.snakemake("--", "results/small/data/manifest.csv")
    manifest = (workspace.root / "results/small/data/manifest.csv").read_text(encoding="utf-8")
    assert sum("dropped" in line for line in manifest.splitlines()) == 2
    workspace.configure(data={"max_unreadable": 0.001})
    text = refused(workspace, "--", "results/small/data/manifest.csv")
    assert "a/broken.png" in text and "b/text.jpg" in text


def test_a_batch_that_became_too_large_for_images_packed_before(workspace: Workspace) -> None:
    image_folder(workspace.root / "images", {"a": 40, "b": 40})
    workspace.configure(data={"source": "images"})
    table = workspace.root / "config/small.tsv"
    table.write_text(RECIPES.replace("\t64\t", "\t16\t").replace("\t128\t", "\t16\t"), encoding="utf-8")
    workspace.snakemake("--", "results/small/data/pack.json")
    table.write_text(RECIPES.replace("\t64\t", "\t57\t").replace("\t128\t", "\t16\t"), encoding="utf-8")
    message = "experiment 'plain', column 'batch_size': found 57, allowed is at most the number of training images, 56"
    assert message in refused(workspace, "--dry-run")
    image_folder(workspace.root / "more", {"a": 42, "b": 42})
    workspace.configure(data={"source": "more"})  # packed anew, so what was packed says nothing
    assert workspace.planned()["pack"] == 1
