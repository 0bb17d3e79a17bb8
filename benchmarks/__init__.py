"""Training throughput of this pipeline beside other loops: `python -m benchmarks.speed`, from the repository's root."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # where the package `study` is
