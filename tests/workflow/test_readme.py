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
    (photographs,) = (block for block in BLOCKS if "model: {name: resnet18" in block)
    mine = "study: mine\ndata:\n  source: /data/mushrooms\n  image_size: 64\n"
    layer = mine + "".join(line.removeprefix("    ") for line in photographs.splitlines(keepends=True))
    (workspace.root / "config/mine.yaml").write_text(layer, encoding="utf-8")
    planned = workspace.planned(*words[1:])
    assert planned["train"] >= 37 and planned["evaluate"] >= planned["train"]


def test_both_tables_are_named() -> None:
    named = {word.rpartition("/")[2] for words in COMMANDS for word in words if word.startswith("experiments=")}
    assert named == {"imbalance.tsv", "published.tsv"}
