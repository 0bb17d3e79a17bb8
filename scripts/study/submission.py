"""Whether SLURM takes as many jobs as a study is about to submit, asked before the first of them.

A job that SLURM rejects counts as failed and uses up its attempts within seconds, so that a study with more jobs than
its user may have in the queue would lose most of its trainings.

Entry points:
    Submission(runs, jobs, account, arrays)    what is about to be submitted, and how
    submission_limit(account) -> int | None    how many jobs SLURM's accounting allows
    check_submission(submission, limit)        refuse what would be rejected, or never be submitted
"""

import getpass
import subprocess
from dataclasses import dataclass

from study.errors import StudyError

SECONDS = 30  # that accounting has to answer


@dataclass(frozen=True)
class Submission:
    """What is about to be submitted.

    Attributes:
        runs: trainings and evaluations that may be in the queue at the same time.
        jobs: Snakemake's `jobs`; `sys.maxsize` is unlimited.
        account: SLURM's, as the profile names it; None for the user's default.
        arrays: whether trainings are submitted as job arrays.
        status: the command that is asked for the state of jobs, squeue or sacct.
    """

    runs: int
    jobs: int
    account: str | None = None
    arrays: bool = False
    status: str = "squeue"


def submission_limit(account: str | None = None) -> int | None:
    """Jobs that SLURM's accounting lets this user have in the queue; None if there is no limit or no answer.

    Of several associations with the account (one for each partition, say) the most generous counts. The limits of a
    QOS are not asked.

    Args:
        account: None for the user's default account.
    """
    fields = "format=DefaultAccount,Account,MaxSubmitJobs,GrpSubmitJobs"
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "user", getpass.getuser(), "withassoc", fields]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return limit_of(answer, account)


def limit_of(associations: str, account: str | None) -> int | None:
    """The same from the lines of `sacctmgr`: default account, account, its limits on a user and on all its users."""
    found: list[int | None] = []
    for line in associations.splitlines():
        default, name, *limits = line.split("|")
        if name == (account or default):
            found.append(min((int(limit) for limit in limits if limit.isdigit()), default=None))
    return None if None in found else max(found, default=None)  # type: ignore[type-var]


def check_submission(submission: Submission, limit: int | None) -> None:
    """Refuse what SLURM would reject, and arrays that would wait for each other for ever.

    Raises:
        StudyError: with the line of the profile that helps.
    """
    runs, jobs = submission.runs, submission.jobs
    if submission.arrays and submission.status == "sacct":
        raise StudyError(
            "profile or command line: slurm-array-jobs with slurm-status-command: sacct; the plugin takes the state "
            "of one task of an array for that of all: set slurm-status-command: squeue, or leave slurm-array-jobs out"
        )
    if submission.arrays and jobs < runs:
        raise StudyError(
            f"profile or command line: slurm-array-jobs with jobs: {jobs} and {runs} runs to submit; an array is "
            f"submitted when all of its runs are ready, and never with fewer jobs than that: set jobs: unlimited, or "
            f"leave slurm-array-jobs out"
        )
    if limit is not None and min(runs, jobs) > limit:
        whose = f"account {submission.account}" if submission.account else "the default account"
        asked = "jobs: unlimited" if jobs > runs and submission.arrays else f"jobs: {jobs}"
        without = ", without slurm-array-jobs," if submission.arrays else ""
        raise StudyError(
            f"profile or command line: {asked} with {runs} runs to submit, but SLURM takes at most {limit} jobs of "
            f"{getpass.getuser()} with {whose}, and what it rejects counts as failed: set jobs: {limit}{without} or "
            f"less, as other jobs of yours count too"
        )
