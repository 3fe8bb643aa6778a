"""Leaves out, where an optional package is not installed, the doctests that need it."""

from importlib.util import find_spec

NEEDS = {
    "PIL": ["learning/groups.py"],
    "matplotlib": [f"inspection/{name}.py" for name in ("changes", "groups", "map", "options")],
    "polars": ["data/polars_table.py"],
    "skops": ["persistence.py", "cli/running.py"],
    "skorch": ["models/classifiers/skorch_net.py"],
}

collect_ignore_glob = [
    pattern for package, files in NEEDS.items() if find_spec(package) is None for pattern in files
]
