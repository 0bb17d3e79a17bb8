"""The few endpoints of a Kubernetes API server that Snakemake's plugin calls; pods are processes of this machine.

A pod's command runs in an empty folder of its own, as in a container with an empty working directory, and sees the
volume at its path, because it is a path of this machine. No image is used, no GPU is counted, nothing is scheduled.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Pod:
    """A job with its only pod."""

    manifest: dict[str, Any]
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def container(self) -> dict[str, Any]:
        return self.manifest["spec"]["template"]["spec"]["containers"][0]

    def kill(self) -> None:
        """As an eviction does."""
        os.killpg(self.process.pid, signal.SIGKILL)


@dataclass
class FakeKubernetes:
    """The server's state: every job that was created, also after its deletion."""

    folder: Path
    pods: dict[str, Pod] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def environment(self, port: int) -> dict[str, str]:
        """Variables with which a client finds the server."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "fake", "user": {"token": "fake"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return {**os.environ, "KUBECONFIG": str(path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def create_job(self, manifest: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        spec = manifest["spec"]["template"]["spec"]
        if wrong := trouble(spec["containers"][0]):
            self.refused.append(wrong)
            return 422, {"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422, "message": wrong}
        name = manifest["metadata"]["name"]
        workdir = self.folder / name
        workdir.mkdir()
        container = spec["containers"][0]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*container["command"], *container["args"]], cwd=workdir, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            )  # fmt: skip
        self.pods[name] = Pod(manifest, process, log)
        return 201, manifest

    def job(self, name: str) -> tuple[int, dict[str, Any]]:
        pod = self.pods[name]
        code = pod.process.poll()
        counts = {"active": 1} if code is None else {"failed": 1} if code else {"succeeded": 1}
        return 200, {**pod.manifest, "status": counts}

    def pod_list(self, name: str) -> tuple[int, dict[str, Any]]:
        code = self.pods[name].process.poll()
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
        container = {"name": "snakemake", "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}
        pod = {"metadata": {"name": name}, "status": {"containerStatuses": [container]}}
        return 200, {"apiVersion": "v1", "kind": "PodList", "items": [pod]}


def trouble(container: dict[str, Any]) -> str:
    """What a real server refuses of a container's resources: an extended resource needs a limit equal to its request.

    Source: ValidateResourceRequirements of Kubernetes (pkg/apis/core/validation).
    """
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, request in requests.items():
        if "/" in name and name not in limits:
            return f"limits[{name}]: Required value: Limit must be set for non overcommitable resources"
        if "/" in name and limits[name] != request:
            return f"requests[{name}]: Invalid value: must be equal to {name} limit"
    return ""


@contextmanager
def fake_kubernetes(folder: Path) -> Iterator[tuple[FakeKubernetes, dict[str, str]]]:
    """The server and the environment of its clients; pods that are left are killed."""
    cluster = FakeKubernetes(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cluster, cluster.environment(server.server_port)
    finally:
        server.shutdown()
        for pod in cluster.pods.values():
            if pod.process.poll() is None:
                pod.kill()
                pod.process.wait()


def _handler(cluster: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

        def _answer(self, code: int, body: dict[str, Any] | str) -> None:
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def _sent(self) -> dict[str, Any]:
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

        def do_POST(self) -> None:
            sent = self._sent()
            self._answer(*(cluster.create_job(sent) if self.path.endswith("/jobs") else (201, sent)))

        def do_GET(self) -> None:
            path = self.path.replace("%3D", "=")
            if match := re.search(r"/jobs/([\w-]+)/status", path):
                self._answer(*cluster.job(match[1]))
            elif match := re.search(r"/pods\?.*job-name=([\w-]+)", path):
                self._answer(*cluster.pod_list(match[1]))
            elif match := re.search(r"/pods/([\w-]+)/log", path):
                self._answer(200, cluster.pods[match[1]].log.read_text(errors="replace"))
            else:
                self._answer(404, {"kind": "Status", "status": "Failure", "code": 404})

        def do_DELETE(self) -> None:
            self._sent()
            self._answer(200, {"kind": "Status", "status": "Success"})

    return Handler
