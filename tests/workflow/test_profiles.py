"""The shipped profiles: every setting exists, has its reason above it, and the study can be planned with it."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import warm
import yaml
from conftest import ROOT, Workspace
from snakemake.cli import get_argument_parser
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

PROFILES = sorted(path.parent for path in ROOT.glob("profiles/*/config.yaml"))
# profile -> modules that it needs beyond requirements.txt
NEEDS = {"kubernetes": ["snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_fs"]}


def settings(profile: Path) -> dict:
    return yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))


def skip_without_plugins(profile: Path) -> None:
    if missing := [module for module in NEEDS.get(profile.name, []) if not find_spec(module)]:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_every_setting_is_one_that_snakemake_or_the_plugin_declares(profile: Path) -> None:
    options = {option.lstrip("-") for action in get_argument_parser()._actions for option in action.option_strings}
    executor = settings(profile).get("executor")
    unknown = set(settings(profile)) - options
    if unknown:
        assert executor, f"{sorted(unknown)} are no options of Snakemake"
        skip_without_plugins(profile)
        registry = ExecutorPluginRegistry()
        registry.collect_plugins()
        declared = registry.get_plugin(executor).settings_cls.__dataclass_fields__
        unknown -= {f"{executor}-{name.replace('_', '-')}" for name in declared}
    assert not unknown


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_every_setting_has_its_reason_above_it(profile: Path) -> None:
    """A comment, a setting that is explained together with it, or the section it belongs to."""
    lines = (profile / "config.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if not re.match(r"[a-z-]+:", line):
            continue
        assert number and (lines[number - 1].startswith("#") or line.startswith("executor:")), line


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_every_profile_says_what_the_default_one_does(profile: Path) -> None:
    """As `--workflow-profile` it takes the default's place."""
    assert settings(profile).items() >= settings(ROOT / "profiles/default").items()


@pytest.mark.parametrize("name", ["slurm", "local-multigpu", "kubernetes"])
def test_a_study_is_planned_with_the_profile(workspace: Workspace, name: str) -> None:
    skip_without_plugins(workspace.root / "profiles" / name)
    profile = workspace.root / "profiles" / name / "config.yaml"
    profile.write_text(profile.read_text().replace("/study/recipe-study", str(workspace.root / "volume")))
    run = warm.run(warm.SNAKEMAKE, ["--dry-run", "--profile", f"profiles/{name}"], workspace.root)
    assert run.returncode == 0, run.stdout
    assert re.search(r"^train +14$", run.stdout, re.MULTILINE), run.stdout
    assert "gpu=1" in run.stdout


@pytest.mark.parametrize("setting", ["slurm_partition", "slurm_account", "runtime", "mem_mb", "gpu", "gres"])
def test_what_sites_differ_in_is_a_line_of_the_slurm_profile(setting: str) -> None:
    text = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    assert re.search(rf"^ +(# )?{setting}: \S+$", text, re.MULTILINE)


def test_downloads_and_the_report_stay_where_snakemake_runs() -> None:
    """By a directive of the rule: those of `localrules` go by a name that a module changes."""
    rules = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("rules/*.smk"))
    _, *texts = re.split(r"^ *rule (?=\w+:)", rules, flags=re.MULTILINE)
    local = {text.partition(":")[0] for text in texts if re.search(r"^ +localrule: True$", text, re.MULTILINE)}
    assert local == {"fetch_data", "fetch_weights", "report"}


def test_every_short_rule_shares_a_submission() -> None:
    """A new rule has to be thought of here: it is local, long, or part of a group."""
    rules = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("rules/*.smk"))
    names = set(re.findall(r"^ *rule (\w+):", rules, re.MULTILINE))
    assert names - {"fetch_data", "fetch_weights", "report"} - {"train", "evaluate"} == set(
        settings(ROOT / "profiles/slurm")["groups"]
    )
