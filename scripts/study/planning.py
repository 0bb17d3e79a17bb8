"""What happens when Snakemake plans: whose results a configuration may replace, and what will be replaced and why.

Entry points:
    check_command_line(words)                              options of which Snakemake would keep the last alone
    check_python(executable)                               a Python that Snakemake could not call
    check_layers(files)                                    a file that is only to be laid over a study, without one
    check_name(config, default, files)                     a configuration with the name of the default study
    accompany(workflow, results, planned)                  what goes with planning: time stamps, notice, study.json
"""

import json
import os
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from study.batch_sizes import check_batch_sizes
from study.continuing import MAX_EPOCHS, checkpoint_files, checkpoint_key, run_key
from study.elsewhere import from_file, made_elsewhere
from study.errors import StudyError
from study.files import file_sha256, json_text, read_json, read_table
from study.names import SPLITS
from study.paths import RunPaths
from study.planned import SHOWN, UNRECORDED, PlannedStudy, changes
from study.recipe import EVALUATION, Recipe, recipes_of
from study.schema import SCHEMA
from study.settings import deciding, read_layer
from study.starts import starts_first
from study.submission import Submission, check_submission, submission_limit

UNSEEN = {"absent", "unreadable", "missing", "made by a rule"}  # of a source that says nothing of its images
# Options that take several values after one another, and of which Snakemake uses the last alone.
ONCE = {"--configfile": r"--configf\w*", "--config": r"--config|-C"}


def check_command_line(words: Sequence[str]) -> None:
    """Refuse an option that stands twice and would count once: the study of what remains is not the one meant.

    Args:
        words: of the command line.

    Raises:
        StudyError: with the option as it is meant.
    """
    words = words[: words.index("--")] if "--" in words else words
    for option, pattern in ONCE.items():
        found, values, here = 0, [], False
        for word in words:
            name, _, value = word.partition("=")
            if word.startswith("-"):
                here = re.fullmatch(pattern, name) is not None
                found += here
                word = value if here else ""
            if here and word:
                values.append(word)
        if found > 1:
            raise StudyError(
                f"{option} stands {found} times on the command line, and Snakemake would use the last one alone; "
                f"name all after one: {option} {shlex.join(values)}"
            )


def check_python(executable: str) -> None:
    """Refuse a Python whose path means something else to a shell: Snakemake 9 calls scripts with it unquoted.

    Raises:
        StudyError: with what to do.
    """
    if re.search(r"[^\w@%+=:,./-]", executable):
        raise StudyError(
            f"{executable}: Snakemake cannot call a Python with blanks, quotes or the like in its path; the pipeline "
            "and its data may lie anywhere, but the environment has to be elsewhere: make VENV=/another/place run"
        )


def check_layers(files: Sequence[str | Path]) -> None:
    """Refuse a layer in the place of a study: what it changes would be the default study.

    Args:
        files: that are laid over the default study, in their order.

    Raises:
        StudyError: with the command as it is meant, or of a file that holds no configuration.
    """
    if files and read_layer(files[0]).get("layer") is True:
        first = _from_here(files[0])
        raise StudyError(
            f"{first}: is a layer (layer: true), which changes a study and is none; name it after the file of a study "
            f"and give the result a name of its own: --configfile config/fer2013.yaml {first} --config study=…"
        )


def _from_here(path: str | Path) -> str:
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def check_name(config: dict[str, Any], default: dict[str, Any], files: Sequence[str | Path]) -> None:
    """Refuse a configuration that would put other results in the place of the default study's.

    Args:
        config: merged.
        default: without what the command line lays over it.
        files: that the command line lays over it; without any, only another source or table is refused.

    Raises:
        StudyError: with what to do.
    """
    if config["study"] != default["study"]:
        return
    now, before = _sections(config), _sections(default)
    if not files:
        now, before = ({key: sections[key] for key in ("data", "experiments")} for sections in (now, before))
    if set(before["experiments"]) <= set(now["experiments"]):  # a table more takes nothing away
        now["experiments"] = before["experiments"]
    found = changes(before, now)
    if not found:
        return
    shown = [_from_here(path) for path in files]
    name, who = Path(shown[-1]).stem if shown else "mine", ", ".join(shown) or "--config"
    layer = shown[-1] if shown else "config/quarter_width.yaml"
    raise StudyError(
        f"{who}: differs from the study '{config['study']}' ({'; '.join(found[:2])}{'; …' * (len(found) > 2)}) and has "
        f"no name of its own, so its results would replace those in results/{config['study']}; add the line "
        f"'study: {name}', or name it on the command line: --config study={name}. A file that changes another study is "
        f"named after that one's: --configfile config/fer2013.yaml {layer}"
    )


def _sections(config: dict[str, Any]) -> dict[str, Any]:
    """All that decides which trainings there are and what becomes of them."""
    tables = config["experiments"]
    return {
        "experiments": [tables] if isinstance(tables, str) else list(tables),
        "data": deciding(config, "data"),
        "model": deciding(config, "model"),
        **{name: config[name] for name in ("split", "loss", "augmentation", "training")},
        "evaluation": config.get("evaluation", {}),
    }


def accompany(workflow: Any, results: Path, planned: Callable[[], PlannedStudy]) -> None:
    """Let Snakemake plan as this pipeline needs it, whatever profile or option it was called with.

    The trigger `code` is taken out: it looks at the time stamp of a script, and rules carry digests of their code as
    params. Before it plans, time stamps are set after what the files say; after that, it is said which finished
    trainings it will replace and why, and study.json is written unless nothing is to be done for real. While another
    Snakemake is at work on a study, its files are left alone, as this one is about to be refused.

    Args:
        workflow: Snakemake's, which has no other place for this: its settings come after the Snakefile was read. Each
            module that is this pipeline brings a study; a study that comes again, with a rule of its own, counts once.
        results: the study's folder.
        planned: gives the study.
    """
    if studies := getattr(workflow, "accompanied", None):
        studies[results] = planned
        return
    snakemake = type(workflow)

    class Accompanied(snakemake):  # type: ignore[misc, valid-type]
        @property
        def rerun_triggers(self) -> set[Any]:
            return {trigger for trigger in super().rerun_triggers if str(trigger) != "code"}

        def _build_dag(self) -> None:
            runs = self.is_main_process and self.executor_plugin is not None  # not to list or draw
            studies = [planned() for planned in self.accompanied.values()] if runs else []
            heeds_locks = runs and self.execution_settings.lock  # not with --nolock
            for study in studies:
                if not (heeds_locks and in_use(study.results, self.persistence)):
                    set_time_stamps(study)
            super()._build_dag()
            if heeds_locks and self.persistence.locked and not self.dryrun:
                return
            unrecorded: dict[Path, Any] = {}
            with _refusing():
                for study in studies:
                    check_batches(study, self.dag)
                    if not self.touch:
                        unrecorded[study.results] = check_unrecorded(study, self.dag, self.persistence)
                if runs and self.executor_plugin.name == "slurm":
                    submission = submitted(studies, self)
                    check_submission(submission, submission_limit(submission.account))
            for study in studies:
                sys.stderr.write("".join(f"{line}\n" for line in notice(study, self.dag)))
                if not (self.dryrun or self.touch):
                    study.write(unrecorded[study.results])

    workflow.accompanied = {results: planned}
    workflow.__class__ = Accompanied


def in_use(results: Path, persistence: Any) -> bool:
    """Whether Snakemake has locked files of a study: it is at work there, or was killed.

    Args:
        persistence: Snakemake's, whose `locked` knows the files of a finished plan alone.
    """
    read = getattr(persistence, "_read_locks", tuple)  # as of Snakemake 9.27; without it nothing is known
    return any(file.startswith(f"{results}/") for _, file in read())


@contextmanager
def _refusing() -> Iterator[None]:
    """Let Snakemake say what is refused, as it says it of its own."""
    from snakemake.exceptions import WorkflowError

    try:
        yield
    except StudyError as error:
        raise WorkflowError(str(error)) from None


def check_batches(study: PlannedStudy, dag: Any) -> None:
    """Refuse trainings to come whose batches do not fit the packed images, unless these are made anew before.

    Args:
        dag: Snakemake's, built.

    Raises:
        StudyError: naming the experiments and what is allowed.
    """
    index = study.results / "data/pack.json"
    coming = {str(file) for job in dag.needrun_jobs() for file in job.output}
    if str(index) in coming or not index.exists():
        return
    trained = [run.experiment for run in study.trainings if str(run.run) in coming]
    sizes = {name: study.recipes[name].batch_size for name in trained}
    check_batch_sizes(sizes, read_json(index)["splits"]["train"]["images"])


def check_unrecorded(study: PlannedStudy, dag: Any, persistence: Any) -> dict[str, Any] | None:
    """Refuse images and predictions that were made as another plan says and that Snakemake has no record of.

    Of results that came without .snakemake it knows the time stamps alone. Their study.json says what was planned when
    they were made; a training is not looked at, as its run.json says that better, see `PlannedStudy.differences`.

    Args:
        dag: Snakemake's, built.
        persistence: Snakemake's records.

    Returns:
        What study.json has to go on saying of such files, until they are made anew; None without any.

    Raises:
        StudyError: this call would use them; with the differences, and what makes them anew.
    """
    try:
        plan = read_json(study.results / "study.json")
        recipes = recipes_of(plan["recipes"])
        made = plan.get(UNRECORDED) or {"data": plan["data"], "evaluation": _evaluation(plan["config"], recipes)}
        differing = _made_otherwise(study, made)
    except (OSError, ValueError, KeyError, TypeError):  # none, or one by another version
        return None
    if not differing:
        return None
    jobs = {str(file): job for job in dag.jobs for file in job.output}
    used = set(dag.bfs(dag.dependencies, *dag.targetjobs))
    kept = None
    for path, found in differing.items():
        job = jobs.get(str(path))
        if not path.exists() or (job is not None and persistence.has_metadata(job)):
            continue
        if job is not None and job in used and not dag.needrun(job):
            raise StudyError(
                f"{path}: made with {'; '.join(found)}, as study.json says; Snakemake has no record of it here, and "
                f"would take it for what is planned. To make it anew: snakemake -R {job.rule.name} …; if it is as "
                "planned: the same with --touch"
            )
        kept = made
    return kept


def _made_otherwise(study: PlannedStudy, made: Mapping[str, Any]) -> dict[Path, list[str]]:
    """The manifest and the metrics.json of runs that were made otherwise than is planned now, with the differences.

    Args:
        made: what they were made with, under "data" and "evaluation".
    """
    recipes = {name: recipe for name, recipe in study.recipes.items() if not from_file(recipe)}
    now = json.loads(json_text({"data": study.data, "evaluation": _evaluation(study.config, recipes)}))
    found = {study.results / "data/manifest.csv": _prepared_otherwise(made["data"], now["data"])}
    for run in study.runs:
        before, after = (of["evaluation"].get(run.experiment) for of in (made, now))
        found[run.metrics] = changes(before, after) if before and after else []
    return {path: what for path, what in found.items() if what}


def _evaluation(config: Mapping[str, Any], recipes: Mapping[str, Recipe]) -> dict[str, dict[str, Any]]:
    """What decides, beside the training, of the predictions of each recipe and their scores."""
    bins = {"ece_bins": config["metrics"]["ece_bins"]}
    return {name: recipe.section(EVALUATION) | bins for name, recipe in recipes.items()}


def _prepared_otherwise(made: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences in which images there are and what becomes of them; where they are, is this machine's affair."""
    nodes = SCHEMA["properties"]["data"]["properties"]
    defaults = {key: node["default"] for key, node in nodes.items() if "default" in node}
    unseen = {made["source"], now["source"]} & UNSEEN
    before, after = (
        {
            "data": defaults | {key: value for key, value in data["data"].items() if key != "source"},
            "split": data["split"],
            "images": "" if unseen else data["source"],
        }
        for data in (made, now)
    )
    return changes(before, after)


def submitted(studies: Sequence[PlannedStudy], workflow: Any) -> Submission:
    """What Snakemake is about to submit to SLURM.

    Args:
        workflow: Snakemake's, its jobs planned.
    """
    runs = {str(file): run.run for study in studies for run in study.runs for file in (run.run, run.predictions)}
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.group and not runs.keys().isdisjoint(job.output)]
    coming = {runs[file] for job in jobs for file in job.output if file in runs}
    accounts = {str(job.resources.get("slurm_account")) for job in jobs} - {"None"}
    settings = workflow.executor_settings
    arrays = (settings.array_jobs or "").replace(";", ",").split(",")
    in_arrays = {rule.strip() for rule in arrays} & {"all", *(job.rule.name for job in jobs)}
    return Submission(
        len(coming), workflow.nodes, min(accounts, default=None), bool(in_arrays), settings.status_command
    )


def notice(study: PlannedStudy, dag: Any) -> list[str]:
    """Which finished trainings Snakemake is about to replace, and why; nothing if there is none.

    Args:
        dag: Snakemake's, built.
    """
    try:
        before = read_json(study.results / "study.json")["data"]
    except (OSError, ValueError, KeyError):
        before = None
    jobs = {file: job for job in dag.needrun_jobs() for file in map(str, job.output)}
    reasons: dict[str, list[RunPaths]] = {}
    for run in study.trainings:
        job = jobs.get(str(run.run))
        if job and run.run.exists():
            what = f"{_why(study, before, run, job, dag.reason(job))}: {_goes(study, run, job, jobs)}"
            reasons.setdefault(what, []).append(run)
    if not reasons:
        return []
    lines = [f"{_named(runs)}: {what}" for what, runs in reasons.items()]
    if len(lines) > SHOWN:
        lines = [*lines[: SHOWN - 1], f"{len(lines) - SHOWN + 1} more lines like these"]
    copy = shlex.join(["cp", "-a", str(study.results), f"{study.results}_before"])
    return [
        *lines,
        f"The finished results of these trainings will be replaced; to keep them, stop and copy first: {copy}",
    ]


def _named(runs: Sequence[RunPaths]) -> str:
    first = f"{runs[0].experiment}, seed {runs[0].seed}"
    return first if len(runs) == 1 else f"{len(runs)} finished trainings ({first}, …)"


def _why(study: PlannedStudy, before: Mapping[str, Any] | None, run: RunPaths, job: Any, reason: Any) -> str:
    if found := study.differences(run):
        return f"trained with {'; '.join(found)}"
    if reason.updated_input_run and before and study.data and (found := changes(before, study.data)):
        return f"its images are prepared anew, {'; '.join(found)}"
    if reason.params_changed and read_json(run.run).get("provenance", {}).get("code") != job.params.get("code"):
        return "trained by another version of the training code"
    return ". ".join(str(reason).split("\n"))


def _goes(study: PlannedStudy, run: RunPaths, job: Any, coming: Mapping[str, Any]) -> str:
    """Where the training of a finished run begins: after its last epoch, if it only is to be longer, or at the start.

    Args:
        job: Snakemake's, that trains it.
        coming: Snakemake's jobs by the files that they make.
    """
    assert study.training is not None  # as it is planned
    recipe, settings = study.recipes[run.experiment], study.training[run.experiment]
    start, anew = study.start(run), "trains again from the start"
    before = [study.results / "data/pack.json", *([start.run] if start else [])]
    if not any(str(path) in coming for path in before):
        origin = {"code": job.params.get("code"), "data": study.images, "initial_weights": study.sha256_of_start(run)}
        key = checkpoint_key(run_key(recipe, settings, **origin), run.experiment, run.seed)
        epochs = recipe.epochs(settings["training"][MAX_EPOCHS])
        for epoch in checkpoint_files(run.checkpoints, key):
            if epoch == epochs:
                return f"written again from its last checkpoint; to train it anew remove {run.trained}"
            if epoch < epochs:
                return f"goes on after epoch {epoch}"
    lengths = (f"{MAX_EPOCHS} ", f"training.{MAX_EPOCHS} ")
    if not (found := study.differences(run)) or not all(what.startswith(lengths) for what in found):
        return anew
    if column := recipe.bound_to_epochs:
        return f"{anew}, as with {column} {recipe[column]} its epochs depend on how many there are to be"
    return f"{anew}, as no checkpoint is left that it could go on from"


def set_time_stamps(study: PlannedStudy) -> None:
    """Let time stamps say what the files say, as a copy without them has them in any order.

    What is proved by content to be made from the files beside it becomes as new as these; a run that was made with
    another recipe, configuration or other images becomes older than they are, so that Snakemake trains it again even
    where its records (.snakemake) are missing. That holds for a run without weights, restored from those kept, as well.
    """
    data = study.results / "data"
    index, audit, weights = data / "pack.json", data / "audit.json", sorted(data.glob("class_weights*.csv"))
    order, evaluations = starts_first(study.recipes), _evaluations(study)
    packed = [index, *(data / f"{split}.{kind}" for split in SPLITS for kind in ("npy", "csv"))]
    if not all(path.exists() for path in (audit, *packed)):
        return
    try:
        if _newest(audit) > _oldest(*packed) and _packed_as_audited(study):
            _renew(packed, _newest(audit))
        for path in weights:
            if _newest(index) > _oldest(path) and _weights_of_these_images(path, index):
                _renew([path], _newest(index))
        for run in sorted(study.trainings, key=lambda run: order.index(run.experiment)):
            outputs = [path for path in (run.history, run.weights, run.run, run.tensorboard) if path.exists()]
            if not {run.history, run.run} <= set(outputs):
                continue
            used = study.class_weights(run.experiment)
            start = study.start(run)
            started_from = [start.run] if start and start.run.exists() else []
            inputs = _newest(index, *[path for path in weights if path == used], *started_from)
            made = _oldest(*outputs)
            if study.differences(run):
                if made >= _newest(index):
                    _renew(outputs, _newest(index) - 1_000_000_000)
            elif made < inputs and study.states_its_data(run):
                after = [files for files in evaluations[run.name] if _oldest(*files) >= _newest(*outputs)]
                _renew(outputs, inputs)
                for files in after:
                    _renew(files, max(inputs, _oldest(*files)))
        for run in study.runs:
            if made_elsewhere(run.training):
                _set_after_images(study, run, index)
            elif not run.trains and study.recipes[run.experiment].adjusted:
                _set_after(study, run, index)
        _set_benchmarks(study, packed)
    except OSError:  # somebody else's files: they stay as they are
        return


def _set_benchmarks(study: PlannedStudy, packed: list[Path]) -> None:
    """Let no benchmark be older than the files whose making it measured: Snakemake counts it as one more of them."""
    data, folder = study.results / "data", study.results / "benchmarks"
    measured = {folder / "manifest.tsv": [data / "manifest.csv", data / "audit.json"], folder / "pack.tsv": packed}
    measured |= {folder / f"{path.stem}.tsv": [path] for path in data.glob("class_weights*.csv")}
    for run in study.runs:
        rules = ("evaluate", "adjust", "import_predictions")
        measured |= {run.benchmark(rule): [run.predictions, run.metrics] for rule in rules}
    for run in study.trainings:
        measured[run.benchmark("train")] = [run.history, run.weights, run.run, run.tensorboard]
    for benchmark, files in measured.items():
        made = [path for path in files if path.exists()] if benchmark.exists() else []
        if made and _oldest(benchmark) < _oldest(*made):
            _renew([benchmark], _oldest(*made))


def _evaluations(study: PlannedStudy) -> Mapping[str, list[list[Path]]]:
    """The files of each evaluation there is of a training's weights, also by a row that takes it, by the run's name."""
    found = defaultdict(list)
    for run in study.runs:
        files = [path for path in (run.predictions, run.metrics) if path.exists()]
        if files and not study.recipes[run.experiment].adjusted:
            found[RunPaths(study.results, run.training or run.experiment, run.seed).name].append(files)
    return found


def _set_after(study: PlannedStudy, run: RunPaths, index: Path) -> None:
    """The same for predictions that another run's were adjusted to: by the hash of these, in metrics.json."""
    trained = RunPaths(study.results, run.training, run.seed)
    made = [run.predictions, run.metrics]
    if not all(path.exists() for path in (*made, trained.run, trained.predictions)):
        return
    needed = _newest(index, trained.predictions)
    if _oldest(*made) < needed and not study.differences(trained) and not study.evaluated_otherwise(run):
        _renew(made, needed)


def _set_after_images(study: PlannedStudy, run: RunPaths, index: Path) -> None:
    """The same for predictions from a file: by the hashes of the file and of the images, in metrics.json."""
    made = [run.predictions, run.metrics]
    if all(path.exists() for path in made) and _oldest(*made) < _newest(index) and not study.evaluated_otherwise(run):
        _renew(made, _newest(index))


def _stamped(path: Path) -> Path:
    """The file whose time stamp Snakemake goes by: for a folder, one that it leaves in it."""
    inside = path / ".snakemake_timestamp"
    return inside if inside.exists() else path


def _newest(*paths: Path) -> int:
    return max(_stamped(path).stat().st_mtime_ns for path in paths)


def _oldest(*paths: Path) -> int:
    return min(_stamped(path).stat().st_mtime_ns for path in paths)


def _renew(paths: Iterable[Path], when: int) -> None:
    for path in paths:
        os.utime(_stamped(path), ns=(when, when))


def _packed_as_audited(study: PlannedStudy) -> bool:
    """Whether the packed images are the ones that the manifest keeps, and the manifest the one that was audited."""
    data = study.results / "data"
    try:
        audit, index = read_json(data / "audit.json"), read_json(data / "pack.json")
        if file_sha256(data / "manifest.csv") != audit["manifest_sha256"]:
            return False
        configured = study.config["data"]
        if any(
            index.get(key, absent) != configured.get(key, absent)
            for key, absent in (("image_size", None), ("stored_size", None), ("keep_aspect", False))
        ):
            return False
        listed = [
            (row["split"], row["image_id"], row["label"])
            for row in _rows(data / "manifest.csv")
            if row["status"] == "kept"
        ]
        packed = [(split, row["image_id"], row["label"]) for split in SPLITS for row in _rows(data / f"{split}.csv")]
        return sorted(listed) == sorted(packed)
    except (StudyError, ValueError, KeyError):
        return False


def _weights_of_these_images(path: Path, index: Path) -> bool:
    """Whether class weights were computed from the counts of the training images as they are."""
    try:
        counted = {row["class"]: int(row["count"]) for row in _rows(path)}
        return bool(counted == read_json(index)["splits"]["train"]["counts"])
    except (StudyError, ValueError, KeyError):
        return False


def _rows(path: Path) -> list[dict[str, str]]:
    return read_table(path).to_dict("records")
