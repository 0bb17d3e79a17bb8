"""Keep finished runs in the repository, without their weights, or bring them back where nothing was trained.

What is kept is what pages and tables are made of: facts, curves, predictions and metrics of every run, some hundred
kilobytes. With it a page can be made again, checked, and continued with more seeds, without training what it shows.
"""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from study.commands.configuration import ROOT, planned_study
from study.elsewhere import made_elsewhere
from study.errors import StudyError
from study.files import read_json, write_json
from study.paths import RunPaths
from study.planned import PlannedStudy, changes
from study.starts import starts_first

KEPT = ROOT / "docs/runs"
RESTORED_FROM = "restored_from.json"  # in the folder of a study: where else its restored runs are kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="its name")
    parser.add_argument("--restore", action="store_true", help="bring back what is kept and not in results/ yet")
    parser.add_argument("--folder", type=Path, default=KEPT, help="where runs are kept (default: docs/runs)")


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for.

    Raises:
        StudyError: nothing is known of the study, or its images or class weights are not prepared.
    """
    for name in arguments.studies:
        study = planned_study(name)
        (restore if arguments.restore else keep)(study, arguments.folder / name)


def restored(run: RunPaths) -> bool:
    """Whether a run is one without weights, whose files are to the last byte those that are kept of it."""
    return not run.weights.exists() and any(_same(run, _in(folder, run)) for folder in _kept_in(run.results))


def _kept_in(results: Path) -> list[Path]:
    """Where runs of a study are kept: in the repository, and in folders that they were restored from."""
    try:
        others = read_json(results / RESTORED_FROM)
    except (OSError, ValueError):
        others = []
    return [KEPT / results.name, *map(Path, others)]


def _same(run: RunPaths, kept: RunPaths) -> bool:
    files = zip(_trained(run) + _evaluated(run), _trained(kept) + _evaluated(kept), strict=True)
    return all(file.exists() and same.exists() and file.read_bytes() == same.read_bytes() for file, same in files)


def keep(study: PlannedStudy, folder: Path) -> None:
    """Copy the files of every run that is finished and as planned, and say so."""
    done = [run for run in _finished(study, study.results) if not study.differences(_training(run))]
    for run in done:
        kept = _in(folder, run)
        _copy(_trained(run) + _evaluated(run), _trained(kept) + _evaluated(kept))
        write_json(_evaluation(study, run), _made_by(kept))
    print(f"{folder}: {len(done)} of the {_kept_at_most(study)} runs of {study.results} kept")


def restore(study: PlannedStudy, folder: Path) -> None:
    """Copy back every run that is kept, as planned and not in the study's results, and say so.

    A training that another one starts from comes before it: whether that one is as planned depends on what is there.

    Raises:
        StudyError: images or class weights are not prepared; Snakemake trains anew whatever is older than they are.
    """
    weights = {path for name in study.recipes if (path := study.class_weights(name))}
    for path in (study.results / "data/pack.json", *sorted(weights)):
        if not path.exists():
            how = "snakemake … --until pack, then --until class_weights"
            raise StudyError(f"{path}: missing; let Snakemake make it first ({how}), then restore")
    taken, order = [], starts_first(study.recipes)
    for run in sorted(_finished(study, folder), key=lambda run: order.index(_training(run).experiment)):
        here = _in(study.results, run)
        if here.metrics.exists() or (here.run.exists() and here.run.read_bytes() != run.run.read_bytes()):
            continue  # what was trained here stays
        if why := _otherwise(study, run):
            print(f"note: {run.name} is not restored, {why}")
        else:
            taken.append(run)
            _copy(_trained(run), _trained(here))
    for run in taken:  # after every training, as they were made: Snakemake goes by the time
        _copy(_evaluated(run), _evaluated(_in(study.results, run)))
    if taken and folder not in (known := _kept_in(study.results)):
        write_json([str(other) for other in (*known[1:], folder)], study.results / RESTORED_FROM)
    print(f"{study.results}: {len(taken)} of the {_kept_at_most(study)} runs restored from {folder}")


def _otherwise(study: PlannedStudy, run: RunPaths) -> str:
    """Why a run that is kept is not one of the study as it is, as the end of a sentence; "" if it is."""
    if not (found := study.differences(_training(run))):
        try:
            found = changes(dict(read_json(_made_by(run))), _evaluation(study, run))
        except (OSError, ValueError, TypeError) as error:
            return f"{_made_by(run)} does not say what its predictions were made with ({error})"
    return f"it was made with {'; '.join(found)}" if found else ""


def _finished(study: PlannedStudy, results: Path) -> Iterable[RunPaths]:
    """The planned runs that have all their files in a folder, without those that are made of a file in a moment."""
    for planned in filter(lambda run: _is_kept(study, run), study.runs):
        run = _in(results, planned)
        if all(path.exists() for path in _trained(run) + _evaluated(run)):
            yield run


def _is_kept(study: PlannedStudy, run: RunPaths) -> bool:
    """Whether a run has files of its own, which are not made of others in a moment."""
    return not made_elsewhere(run.training) and not study.recipes[run.experiment].adjusted


def _kept_at_most(study: PlannedStudy) -> int:
    return sum(_is_kept(study, run) for run in study.runs)


def _in(results: Path, run: RunPaths) -> RunPaths:
    """The files of a run in another folder."""
    return RunPaths(results, run.experiment, run.seed, run.training)


def _training(run: RunPaths) -> RunPaths:
    """The run whose training it has."""
    return RunPaths(run.results, run.training or run.experiment, run.seed)


def _trained(run: RunPaths) -> list[Path]:
    return [run.history, run.run]


def _evaluated(run: RunPaths) -> list[Path]:
    return [run.predictions, run.metrics]


def _made_by(run: RunPaths) -> Path:
    """What decided of the predictions beside the training, which run.json states."""
    return run.evaluated / "evaluation.json"


def _evaluation(study: PlannedStudy, run: RunPaths) -> dict[str, object]:
    return {**study.recipes[run.experiment].evaluation, "metrics.ece_bins": study.config["metrics"]["ece_bins"]}


def _copy(sources: list[Path], targets: list[Path]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
