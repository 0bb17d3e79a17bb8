"""Where the files of a study are. A run's folder is spelled here alone, for rules, scripts and readers of results."""

import re
from dataclasses import dataclass
from pathlib import Path

# In a run's folder, beside the outputs and none of them: Snakemake deletes outputs before a job.
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class RunPaths:
    """The files of one run below results/{study}.

    Without experiment and seed, the names hold Snakemake's wildcards in their place: the patterns of the rules.

    Attributes:
        training: the experiment that is trained for it, where that is another one: the run has its weights.
    """

    results: Path
    experiment: str = "{experiment}"
    seed: int | str = "{seed}"
    training: str = ""

    @property
    def name(self) -> str:
        """The run within a study: "sgd_ver3/seed_0"."""
        return f"{self.experiment}/seed_{self.seed}"

    @property
    def trained(self) -> Path:
        """Folder of what the rule train writes."""
        return self.results / "train" / (self.training or self.experiment) / f"seed_{self.seed}"

    @property
    def trains(self) -> bool:
        """Whether the run has a training of its own."""
        return self.training in ("", self.experiment)

    @property
    def evaluated(self) -> Path:
        """Folder of what the rules evaluate and adjust write."""
        return self.results / "evaluate" / self.name

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.trained / "history.csv"

    @property
    def weights(self) -> Path:
        """Of the best epoch."""
        return self.trained / "best.safetensors"

    @property
    def run(self) -> Path:
        """Outcome, facts and provenance."""
        return self.trained / "run.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the states that the training may continue from."""
        return self.trained / CHECKPOINTS

    @property
    def tensorboard(self) -> Path:
        """Folder of the same curves for TensorBoard."""
        return self.trained / "tensorboard"

    @property
    def predictions(self) -> Path:
        """Log-probabilities of every class for every validation and test image."""
        return self.evaluated / "predictions.parquet"

    @property
    def metrics(self) -> Path:
        """What the predictions are worth, per split."""
        return self.evaluated / "metrics.json"

    def log(self, rule: str) -> Path:
        """What the rule "train", "evaluate" or "adjust" says of this run."""
        return self.results / "logs" / rule / f"{self.experiment}_seed_{self.seed}.log"

    def benchmark(self, rule: str) -> Path:
        """What the rule took for this run."""
        return self.results / "benchmarks" / rule / f"{self.experiment}_seed_{self.seed}.tsv"


def class_weights_file(results: Path, scheme: str) -> Path:
    """Weights of the classes by a scheme, "complement" or "effective_number_0.999": what a training reads."""
    return results / "data" / f"class_weights_{scheme}.csv"


def run_of(path: str | Path) -> tuple[str, int]:
    """Experiment and seed that a file in a run's folder belongs to."""
    folder = Path(path).parent
    return folder.parent.name, int(folder.name.removeprefix("seed_"))


def runs_in(results: Path, file: str) -> list[RunPaths]:
    """Every run of a study that has left `file` ("run.json", "best.safetensors") in its folder, sorted."""
    return _runs(results, f"train/*/seed_*/{file}")


def evaluated_in(results: Path) -> list[RunPaths]:
    """Every run of a study that was evaluated, trained or not, sorted."""
    return _runs(results, "evaluate/*/seed_*/metrics.json")


def _runs(results: Path, pattern: str) -> list[RunPaths]:
    found = sorted(results.glob(pattern))
    return [RunPaths(results, *run_of(path)) for path in found if re.fullmatch(r"seed_\d+", path.parent.name)]
