"""A SLURM cluster of one node with two configured GPUs, on this machine, for as long as a test needs it.

Everything it needs lies in a folder of its own: munge's key and socket, configuration, state, spool and logs. Nothing
of the system is changed, no port is fixed, no account is needed, and root is not required.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
START_SECONDS = 30

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=5
NodeName={node} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=batch Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """The running cluster; `environment` makes SLURM's commands talk to it."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> str:
        """Output of one of SLURM's commands."""
        run = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, check=True)
        return run.stdout.strip()


def missing_programs() -> list[str]:
    """Programs that are not installed, by name."""
    return [name for name in PROGRAMS if not _program(name)]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start munge, slurmctld and slurmd; end them, and what they started, by process id."""
    # Not pytest's folder: a socket's path has to be short, and munge wants every folder above it open to all.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))},
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
    }
    cluster = Cluster(folder, environment)
    with ExitStack() as daemons:
        daemons.callback(shutil.rmtree, folder, ignore_errors=True)
        _configure(folder)
        munge = ["--key-file={0}/munge.key", "--socket={0}/munge.socket", "--pid-file={0}/munged.pid"]
        munge += ["--log-file={0}/munged.log", "--seed-file={0}/munged.seed"]
        _start(daemons, cluster, "munged", "--foreground", "--force", *(option.format(folder) for option in munge))
        _wait(cluster, "munge's socket", (folder / "munge.socket").exists)
        _start(daemons, cluster, "slurmctld", "-D", "-i")
        _start(daemons, cluster, "slurmd", "-D")
        daemons.callback(_cancel_all, cluster)
        _wait(cluster, "an idle node", lambda: _node_state(cluster) == "idle")
        yield cluster


def _configure(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    # The plugin takes SLURM_* out of the environment of a job's steps; elsewhere srun finds /etc/slurm/slurm.conf.
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_program("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    # In place of /dev/nvidia[0-1]: SLURM insists on a device file for each GPU, but does not open it.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    node = socket.gethostname().partition(".")[0]
    ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, user=user, node=node, **ports))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _start(daemons: ExitStack, cluster: Cluster, name: str, *arguments: str) -> None:
    program = _program(name)
    assert program
    with (cluster.folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [program, *arguments], env=cluster.environment, stdout=output, stderr=subprocess.STDOUT
        )
    daemons.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cancel_all(cluster: Cluster) -> None:
    """End jobs that are left, so that no step outlives its node's daemon."""
    ids = cluster.command("squeue", "--noheader", "--format=%A").split()
    if ids:
        cluster.command("scancel", *ids)
        _wait(cluster, "the jobs' end", lambda: not cluster.command("squeue", "--noheader", "--states=R,CG"))


def _node_state(cluster: Cluster) -> str:
    run = subprocess.run(
        ["sinfo", "--noheader", "--format=%t"], env=cluster.environment, capture_output=True, text=True
    )
    return run.stdout.strip()


def _wait(cluster: Cluster, what: str, reached) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
                for path in sorted(cluster.folder.glob("*"))
                if re.search(r"\.(log|out)$", path.name)
            )
            raise RuntimeError(f"no {what} after {START_SECONDS} s:\n{logs}")
        time.sleep(0.1)
