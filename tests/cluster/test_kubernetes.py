"""The shipped Kubernetes profile against a stand-in for the API server, where the plugins are installed.

They are not in requirements.txt: docs/CLUSTER.md has the commands.
"""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Workspace, copy_pipeline
from kubernetes_api import fake_kubernetes

PLUGINS = ("snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_fs")
SECONDS = 400


def study(root: Path) -> Workspace:
    root.mkdir()
    workspace = copy_pipeline(root)
    workspace.configure(data={"image_size": 32}, resources={"train_threads": 1, "train_mem_mb": 2000, "workers": 1})
    profile = root / "profiles/kubernetes/config.yaml"
    text = profile.read_text(encoding="utf-8")
    assert "/study/recipe-study" in text
    profile.write_text(text.replace("/study/recipe-study", str(root / "volume")), encoding="utf-8")
    (root / "volume").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "."], cwd=root, check=True)  # what git knows is sent to the pods
    return workspace


@pytest.mark.skipif(any(not find_spec(plugin) for plugin in PLUGINS), reason="the plugins are not installed")
def test_a_study_with_an_evicted_training_is_made_in_pods(tmp_path: Path) -> None:
    workspace = study(tmp_path / "study")
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/kubernetes", "--configfile"]
    (tmp_path / "pods").mkdir()
    with fake_kubernetes(tmp_path / "pods") as (cluster, environment), (tmp_path / "run.out").open("wb") as output:
        run = subprocess.Popen(
            [*command, workspace.configfile, "--until", "evaluate"],
            cwd=workspace.root, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        evicted = ""
        deadline = time.monotonic() + SECONDS
        while run.poll() is None and time.monotonic() < deadline:
            for name, pod in list(cluster.pods.items()):
                if (
                    not evicted
                    and "--allowed-rules train" in pod.container["args"][-1]
                    and "epoch" in pod.log.read_text()
                ):
                    pod.kill()
                    evicted = name
            time.sleep(0.2)
        run.kill()
        said = (tmp_path / "run.out").read_text(encoding="utf-8")
        assert run.wait() == 0, said[-8000:]
    assert cluster.refused == []
    assert evicted and f"Job {evicted} failed" in said
    asked = [pod.container["resources"] for pod in cluster.pods.values() if "rules train" in pod.container["args"][-1]]
    assert len(asked) == 3 and all(resources["limits"]["nvidia.com/gpu"] == "1" for resources in asked)
    for name in ("plain", "weighted"):
        assert (workspace.root / f"volume/results/small/train/{name}/seed_0/run.json").exists()
