"""Peak memory of one ``explain`` call in a process of its own; see `benchmarks.speed`."""

from __future__ import annotations

import resource
import subprocess
import sys
import warnings
from pathlib import Path

import joblib

_STATUS = Path("/proc/self/status")


def probe(path: Path, n_rows: int) -> tuple[float, float]:
    """Return the peak memory before and after explaining ``n_rows`` rows, in mebibytes.

    ``path`` is a joblib file of (explainer, rows, target). A process of its own starts without
    the peak of whatever was trained before.
    """
    command = [sys.executable, "-m", "benchmarks.memory_probe", str(path), str(n_rows)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    before, after = (float(part) for part in done.stdout.split())
    return before, after


def peak() -> float:
    """Return the largest resident memory so far, in mebibytes."""
    if _STATUS.exists():
        # Linux counts the parent's memory in ru_maxrss of a process that it started.
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Explain and print the two peaks."""
    explainer, rows, target = joblib.load(sys.argv[1])
    warnings.simplefilter("ignore")
    explainer.explain(rows[:2], target=target)  # libraries are loaded on the first call
    before = peak()
    explainer.explain(rows[: int(sys.argv[2])], target=target)
    print(before, peak())


if __name__ == "__main__":
    main()
