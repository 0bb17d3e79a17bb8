"""What is known of a cluster's limits before anything is submitted. `tests/cluster` asks a real one."""

import sys

import pytest

from study.errors import StudyError
from study.submission import Submission, check_submission, limit_of

# Default account, account, MaxSubmitJobs, GrpSubmitJobs: as `sacctmgr --parsable2` prints them.
ASSOCIATIONS = "study|study|6|\nstudy|study|40|30\nstudy|other||\nstudy|small|100|8\n"


@pytest.mark.parametrize(
    ("account", "limit"), [(None, 30), ("study", 30), ("small", 8), ("other", None), ("unknown", None)]
)
def test_the_most_generous_association_of_the_account_counts(account: str | None, limit: int | None) -> None:
    assert limit_of(ASSOCIATIONS, account) == limit


@pytest.mark.parametrize(
    ("submission", "limit"),
    [
        (Submission(runs=1400, jobs=200), None),
        (Submission(runs=1400, jobs=200), 200),
        (Submission(runs=28, jobs=200), 28),
        (Submission(runs=28, jobs=sys.maxsize, arrays=True), 28),
        (Submission(runs=0, jobs=2, arrays=True), 1),
    ],
)
def test_what_slurm_takes_is_submitted(submission: Submission, limit: int | None) -> None:
    check_submission(submission, limit)


def test_more_than_slurm_takes_is_refused_with_the_line_that_helps() -> None:
    with pytest.raises(StudyError, match=r"jobs: 200 with 1400 runs .* at most 100 jobs .* account ml, .* 100 or"):
        check_submission(Submission(runs=1400, jobs=200, account="ml"), 100)


def test_an_array_that_is_larger_than_slurm_takes_is_refused() -> None:
    submission = Submission(runs=1400, jobs=sys.maxsize, arrays=True)
    with pytest.raises(StudyError, match=r"jobs: unlimited .* default account, .* jobs: 100, without slurm-array-jobs"):
        check_submission(submission, 100)


def test_an_array_that_would_never_be_submitted_is_refused() -> None:
    with pytest.raises(StudyError, match=r"slurm-array-jobs with jobs: 2 and 6 runs .* set jobs: unlimited"):
        check_submission(Submission(runs=6, jobs=2, arrays=True), None)


def test_arrays_whose_tasks_sacct_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(StudyError, match=r"slurm-array-jobs with .* sacct; .* set slurm-status-command: squeue"):
        check_submission(Submission(runs=6, jobs=sys.maxsize, arrays=True, status="sacct"), None)
