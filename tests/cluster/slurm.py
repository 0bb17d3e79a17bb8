"""A SLURM cluster on this machine, for as long as a test needs it: two nodes of four configured GPUs, with accounting.

Everything it needs lies in a folder of its own: munge's key and socket, the database, configuration, state, spool and
logs. Nothing of the system is changed, no port is fixed, no account is needed, and root is not required.
"""

import getpass
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

# What is needed, and Debian's package of it.
PROGRAMS = {
    **dict.fromkeys(("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo"), "slurm-wlm"),
    **dict.fromkeys(("sacct", "sacctmgr"), "slurm-wlm"),
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
}
START_SECONDS = 30
NODES = ("node1", "node2")
# Jobs of the account `study` that may be in the queue; `other` has no limit.
MAX_SUBMIT_JOBS = 6
# In place of /dev/nvidia[0-3]: SLURM insists on a device file for each GPU, but does not open it.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")

# cred_expire: how long a job that is put back waits before it may start again; two minutes by default.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits
AccountingStoreFlags=job_comment
MpiDefault=none
ReturnToService=1
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=5
{nodes}
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=2 State=UP
"""

ACCOUNTING = """\
DbdHost=localhost
DbdPort={accounting_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
"""

# One line for each statement: that is how mariadbd reads a file of them.
DATABASE = """\
CREATE DATABASE slurm;
CREATE USER slurm@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON slurm.* TO slurm@'127.0.0.1';
"""


@dataclass(frozen=True)
class Cluster:
    """The running cluster; `environment` makes SLURM's commands talk to it."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> str:
        """Output of one of SLURM's commands."""
        run = subprocess.run(arguments, env=self.environment, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {run.stderr.strip() or run.stdout.strip()}")
        return run.stdout.strip()


def missing_packages() -> list[str]:
    """Debian packages whose programs are not installed."""
    return sorted({package for name, package in PROGRAMS.items() if not _program(name)})


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start munge, MariaDB, slurmdbd, slurmctld and a slurmd for each node; end them by process id."""
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
        ports = _configure(folder)
        munge = ["--key-file={0}/munge.key", "--socket={0}/munge.socket", "--pid-file={0}/munged.pid"]
        munge += ["--log-file={0}/munged.log", "--seed-file={0}/munged.seed"]
        _start(daemons, cluster, "munged", "--foreground", "--force", *(option.format(folder) for option in munge))
        _wait(cluster, "munge's socket", (folder / "munge.socket").exists)
        _start_database(daemons, cluster, ports["database_port"])
        _start(daemons, cluster, "slurmdbd", "-D")
        _wait(cluster, "accounting", lambda: _answers(cluster, "sacctmgr", "show", "cluster"))
        _add_accounts(cluster)
        _start(daemons, cluster, "slurmctld", "-D", "-i")
        for node in NODES:
            _start(daemons, cluster, "slurmd", "-D", "-N", node)
        daemons.callback(_cancel_all, cluster)
        _wait(cluster, "idle nodes", lambda: _node_states(cluster) == ["idle"] * len(NODES))
        yield cluster


def _configure(folder: Path) -> dict[str, int]:
    """Write all configuration; the ports by name."""
    (folder / "state").mkdir()
    for node in NODES:
        (folder / f"spool.{node}").mkdir()
    # The plugin takes SLURM_* out of the environment of a job's steps; elsewhere srun finds /etc/slurm/slurm.conf.
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_program("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in DEVICES))
    host = socket.gethostname().partition(".")[0]
    fixed = ("controller_port", "accounting_port", "database_port")
    ports = dict(zip((*fixed, *NODES), _free_ports(len(fixed) + len(NODES)), strict=True))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]} CPUs=4 RealMemory=64000 "
        f"Gres=gpu:{len(DEVICES)} State=UNKNOWN"
        for node in NODES
    )
    values = {"folder": folder, "user": getpass.getuser(), "host": host, "nodes": nodes, **ports}
    values["password"] = secrets.token_hex(16)
    for name, text in (("slurm.conf", CONFIGURATION), ("slurmdbd.conf", ACCOUNTING), ("database.sql", DATABASE)):
        path = folder / name
        path.touch(mode=0o644 if name == "slurm.conf" else 0o600)
        path.write_text(text.format(**values))
    return ports


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _start_database(daemons: ExitStack, cluster: Cluster, port: int) -> None:
    """MariaDB with an empty database for slurmdbd."""
    data, user = cluster.folder / "database", getpass.getuser()
    made = subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--force", "--skip-test-db",
         "--auth-root-authentication-method=normal", "--skip-name-resolve"],
        capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        raise RuntimeError(f"no database: {made.stdout}{made.stderr}")
    _start(
        daemons, cluster, "mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", f"--port={port}",
        "--bind-address=127.0.0.1", f"--socket={cluster.folder}/mariadb.socket", "--skip-name-resolve",
        f"--pid-file={cluster.folder}/mariadbd.pid", f"--init-file={cluster.folder}/database.sql",
        "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0",
    )  # fmt: skip
    _wait(cluster, "database", lambda: _listens(port))


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _add_accounts(cluster: Cluster) -> None:
    """Two accounts of the present user; the first is the default and has a limit."""
    user = getpass.getuser()
    cluster.command("sacctmgr", "-i", "add", "cluster", "test")
    for account in ("study", "other"):
        cluster.command("sacctmgr", "-i", "add", "account", account)
        cluster.command("sacctmgr", "-i", "add", "user", user, f"account={account}")
    limit = f"MaxSubmitJobs={MAX_SUBMIT_JOBS}"
    cluster.command("sacctmgr", "-i", "modify", "user", user, "where", "account=study", "set", limit)
    cluster.command("sacctmgr", "-i", "modify", "user", user, "set", "DefaultAccount=study")


def _start(daemons: ExitStack, cluster: Cluster, name: str, *arguments: str) -> None:
    program = _program(name)
    assert program
    with (cluster.folder / f"{name}.out").open("ab") as output:
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


def _answers(cluster: Cluster, *command: str) -> bool:
    return subprocess.run(command, env=cluster.environment, capture_output=True).returncode == 0


def _node_states(cluster: Cluster) -> list[str]:
    run = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=batch", "--format=%t"],
        env=cluster.environment, capture_output=True, text=True,
    )  # fmt: skip
    return run.stdout.split()


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
