"""What the README says to type for images of one's own is planned as it stands there."""

import re
import shlex

import pytest
from conftest import ROOT, Workspace

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n)+", TEXT, re.MULTILINE)
LINES = "".join(BLOCKS).replace("\\\n", " ").splitlines()
COMMANDS = [shlex.split(line, comments=True) for line in LINES if "config/mine.yaml" in line and "snakemake" in line]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: next(word for word in words if word.startswith("study=")))
def test_a_command_over_a_study_of_photographs_is_planned(workspace: Workspace, words: list[str]) -> None:
    mine = "study: mine\ndata:\n  source: /data/mushrooms\n  image_size: 64\n"
    photographs = (ROOT / "config/photographs.yaml").read_text(encoding="utf-8").replace("layer: true\n", "")
    (workspace.root / "config/mine.yaml").write_text(mine + photographs, encoding="utf-8")
    planned = workspace.planned(*words[1:])
    assert planned["train"] >= 37 and planned["evaluate"] >= planned["train"]


def test_images_of_ones_own_are_planned_with_the_layer_for_photographs(workspace: Workspace) -> None:
    whole, cheap = (shlex.split(line) for line in LINES if "config/photographs.yaml" in line)
    mine = "study: mushrooms\ndata:\n  source: /data/mushrooms\n  image_size: 64\n"
    (workspace.root / "config/mushrooms.yaml").write_text(mine, encoding="utf-8")
    planned = workspace.planned(*whole[1:])
    assert planned["train"] == 17 * 5 and planned["fetch_weights"] == 1
    assert workspace.planned(*cheap[1:])["train"] == 17


def test_both_tables_are_named() -> None:
    named = {word.rpartition("/")[2] for words in COMMANDS for word in words if word.startswith("experiments=")}
    assert named == {"imbalance.tsv", "published.tsv"}
