"""Who may import whom. The table below is the plan of the house; the code must follow it."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "scfe_sklearn"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE

# Rooms that import nothing of the package; those below may all import `_utils`.
_BASE = "_utils conftest datasets metrics status"
# Room -> rooms that it may import, at any depth of its code and for types as well. Its own files
# are always allowed; nothing may import tests, benchmarks or examples, and only `serving` the
# room `inspection` (but see LATER).
ALLOWED = {
    **dict.fromkeys(_BASE.split(), ""),
    "data": "_utils",
    "rules": "_utils data",
    "models": "_utils data",
    "densities": "_utils",
    "proximal": "_utils",
    "targets": "_utils",
    "exact": "data rules",
    "objective": "_utils densities",
    "solvers": "_utils proximal",
    "explanation": "_utils metrics status",
    "recourse": (
        "_utils data densities exact explanation models objective proximal rules solvers status "
        "targets"
    ),
    "progress": "recourse status",
    "slices": "explanation progress recourse",
    "workers": "_utils explanation progress recourse slices status",
    "fingerprint": "explanation",
    "checkpoint": "_utils explanation fingerprint recourse rules",
    "distributed": "explanation persistence rules",
    "robustness": "data explanation models",
    "scoring": "_utils explanation status targets",
    "persistence": "_utils explanation",
    "transformer": "_utils data explanation models status",
    "pipeline": "_utils explainer explanation models progress rules",
    "image": "_utils densities models objective proximal solvers status",
    "learning": "_utils data explanation image models proximal recourse solvers status",
    "inspection": "_utils explanation metrics status",
    "serving": "_utils data explanation inspection rules status",
}
ALLOWED = {room: set(others.split()) for room, others in ALLOWED.items()}
_WHOLE = "conftest distributed image inspection learning persistence pipeline serving transformer"
_PARTS = ALLOWED.keys() - set(_WHOLE.split())
ALLOWED |= {
    "explainer": _PARTS,
    "demo": _PARTS | {"explainer"},
    "__init__": _PARTS | {"explainer", "persistence", "pipeline", "transformer"},
    "cli": _PARTS | {"demo", "distributed", "explainer", "persistence", "serving"},
    "__main__": _PARTS | {"cli", "demo", "explainer", "__init__"},
}
# Rooms of which others import only what their ``__init__`` names, and whose files do not need each
# other in a circle, not even for types.
FLAT = {"_utils", "data", "rules"}
# Rooms that a room may import as well, but only within functions: convenience of the user, for
# which nothing is loaded before it is asked for.
LATER = {"explanation": {"inspection"}, "learning": {"inspection"}}
# The same within a large room: part (a folder or a file of it) -> parts that it may import. A file
# beside the folders that has no line may import them all, and none of them may import it. What a
# folder's ``__init__`` exports is all that others take from it.
INSIDE = {
    "recourse": {
        "preparation": set(),
    },
    "models": {
        "compiled": set(),
        "predictions": {"compiled"},
        "transformers": {"compiled"},
        "classifiers": {"compiled"},
        "categorical_inputs": {"compiled"},
        "trees": {"categorical_inputs", "compiled", "transformers"},
        "black_box": {"compiled", "predictions", "trees"},
    },
    "solvers": {
        "gradients": set(),
        "problem": set(),
        "starts": {"problem"},
        "refinement": {"gradients", "problem"},
        "planes": {"problem"},
        "descent": {"planes", "problem", "starts"},
        "fallback": {"problem", "starts"},
    },
}
OUTSIDE = {"tests", "benchmarks", "examples"}
OPTIONAL = {"PIL", "jinja2", "matplotlib", "polars", "pyarrow", "skops", "skorch", "tqdm"}


class Import(NamedTuple):
    """One imported module."""

    module: str
    line: int
    at_import: bool  # runs when the file is imported: in no function, not for types only


class _Imports(ast.NodeVisitor):
    """Every import of a file, in functions and for types too."""

    def __init__(self):
        self.found = []
        self.problems = []
        self._deferred = 0

    def _add(self, module, node):
        self.found.append(Import(module, node.lineno, not self._deferred))

    def _visit_deferred(self, nodes):
        self._deferred += 1
        for node in nodes:
            self.visit(node)
        self._deferred -= 1

    def visit_FunctionDef(self, node):
        self._visit_deferred(node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node):
        if "TYPE_CHECKING" in ast.unparse(node.test):
            self._visit_deferred(node.body)
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)

    def visit_Import(self, node):
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node):
        if node.level:
            self.problems.append(f"line {node.lineno}: relative import")
        if any(alias.name == "*" for alias in node.names):
            self.problems.append(f"line {node.lineno}: star import")
        for alias in node.names:
            # The name may be a module: `from scfe_sklearn import metrics`.
            self._add(f"{node.module or ''}.{alias.name}", node)

    def visit_Call(self, node):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in ("import_module", "__import__") and node.args:
            module = node.args[0]
            if isinstance(module, ast.Constant):
                self._add(module.value, node)
        self.generic_visit(node)


def room_of(module):
    """The room of a module of the package; ``__init__`` for a name that the package exports."""
    inner = module.split(".")[1:]
    return inner[0] if inner and inner[0] in ALLOWED else "__init__"


@cache
def imports_of(source):
    """Every import of a file, and what is wrong with its form."""
    walker = _Imports()
    walker.visit(ast.parse(source))
    return walker.found, walker.problems


def violations(source, room):
    """What a file of a room does that it may not."""
    found, problems = imports_of(source)
    crossing = set()
    for module, line, at_import in found:
        parts = module.split(".")
        allowed = ALLOWED[room] | {room} | (set() if at_import else LATER.get(room, set()))
        ours = parts[0] == PACKAGE and room_of(module) not in allowed
        if ours or parts[0] in OUTSIDE:
            crossing.add(f"line {line}: {room} imports {'.'.join(parts[:2])}")
    return problems + sorted(crossing)


def violations_inside(source, name, modules):
    """What the module ``name`` takes of the parts of a large room that it may not.

    ``modules`` are the names of all modules of the package.
    """
    _, *own = name.split(".")
    crossing = set()
    for module, line, _ in imports_of(source)[0]:
        # `from a.b import c` names a.b.c, which is a module or something in one.
        package, *other = (module if module in modules else module.rpartition(".")[0]).split(".")
        if package != PACKAGE or not other or other[0] not in {*INSIDE, *FLAT}:
            continue
        if other[0] in FLAT:
            if own[:1] != other[:1] and len(other) > 1:
                crossing.add(f"line {line}: {'.'.join(own)} imports {'.'.join(other)}")
            continue
        (here, there), room = ([*way[1:], "__init__"][0] for way in (own, other)), other[0]
        neighbour = own[:1] == [room]
        if neighbour and here == there:
            continue
        behind = len(other) > 2  # a file of a folder, past what its __init__ exports
        if behind or (neighbour and here in INSIDE[room] and there not in INSIDE[room][here]):
            crossing.add(f"line {line}: {'.'.join(own)} imports {'.'.join(other)}")
    return sorted(crossing)


def loaded_by(modules, start):
    """Optional packages that importing the module ``start`` loads, with all that it imports.

    ``modules`` maps the names of the package's modules to their sources.
    """
    seen, waiting, optional = set(), [start], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for module, _, at_import in imports_of(modules[name])[0]:
            if not at_import:
                continue
            parts = module.split(".")
            optional |= {parts[0]} & OPTIONAL
            waiting += [".".join(parts[: k + 1]) for k in range(len(parts))]
        waiting = [name for name in waiting if name in modules]
    return optional


FILES = sorted(ROOT.rglob("*.py"))


def room_of_file(path):
    """The first part of a file's path within the package."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def module_of_file(path):
    """The name under which Python knows a file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_what_its_room_may(path):
    room = room_of_file(path)
    assert room in ALLOWED, f"{room} has no line in the table ALLOWED of this test"
    assert violations(path.read_text(encoding="utf-8"), room) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_what_its_part_of_the_room_may(path):
    modules = {module_of_file(other) for other in FILES}
    name = module_of_file(path)
    assert violations_inside(path.read_text(encoding="utf-8"), name, modules) == []


@pytest.mark.parametrize("room", INSIDE)
def test_every_folder_of_a_large_room_has_a_line(room):
    folders = {path.parent.name for path in FILES if path.parent.parent == ROOT / room}
    assert folders and folders <= set(INSIDE[room])


@pytest.mark.parametrize("room", sorted({room_of_file(path) for path in FILES}))
def test_a_room_loads_no_optional_package(room):
    modules = {module_of_file(path): path.read_text(encoding="utf-8") for path in FILES}
    start = PACKAGE if room == "__init__" else f"{PACKAGE}.{room}"
    assert loaded_by(modules, start) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_says_what_it_is_for(path):
    if not path.stem.startswith("_") or path.stem in ("__init__", "__main__"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_there_are_files():
    rooms = {room_of_file(path) for path in FILES}
    assert {"data", "rules", "models", "densities", "proximal", "solvers", "explanation"} <= rooms


def test_no_file_needs_itself_to_be_imported():
    modules = {module_of_file(path): path.read_text(encoding="utf-8") for path in FILES}

    def needed(name, every=False):
        found = {at.module for at in imports_of(modules[name])[0] if every or at.at_import}
        # `from a.b import c` names a.b.c, which is a module or something in one.
        return {m if m in modules else m.rpartition(".")[0] for m in found} & modules.keys()

    graph = {name: needed(name) for name in modules}
    TopologicalSorter(graph).prepare()
    for room in FLAT:  # types and functions as well
        files = {name for name in modules if name.startswith(f"{PACKAGE}.{room}.")}
        TopologicalSorter({name: needed(name, True) & files for name in files}).prepare()


@pytest.mark.parametrize("table", [ALLOWED, *INSIDE.values()], ids=["rooms", *INSIDE])
def test_no_room_reaches_itself_through_others(table):
    def reach(room, seen):
        for other in table[room] - seen:
            seen.add(other)
            reach(other, seen)
        return seen

    assert [room for room in table if room in reach(room, set())] == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("solvers", "from scfe_sklearn.models import as_torch"),
        ("solvers", "import scfe_sklearn.densities.kernel"),
        ("solvers", "def f():\n    from scfe_sklearn import data"),
        ("data", "if TYPE_CHECKING:\n    from scfe_sklearn.models import ScoreModel"),
        ("models", "class A:\n    async def f(self):\n        import scfe_sklearn.rules"),
        ("densities", "import importlib\nimportlib.import_module('scfe_sklearn.solvers')"),
        ("metrics", "from scfe_sklearn import CounterfactualExplainer"),
        ("explainer", "from scfe_sklearn.inspection import display"),
        ("explanation", "from scfe_sklearn.inspection import display"),
        ("explanation", "class A:\n    from scfe_sklearn.inspection import display"),
        ("explainer", "def f():\n    from scfe_sklearn.inspection import display"),
        ("explanation", "def f():\n    from scfe_sklearn.serving import serve"),
        ("explainer", "from scfe_sklearn.image import gse"),
        ("__main__", "from benchmarks import tables"),
        ("__main__", "import tests.test_explanation"),
        ("data", "from .space import FeatureSpace"),
        ("data", "from scfe_sklearn._utils.row_values import *"),
    ],
)
def test_a_planted_violation_is_caught(room, source):
    assert len(violations(source, room)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("rules.ranges", "from scfe_sklearn.data.table import Table"),
        ("models.categorical_inputs", "from scfe_sklearn.models.trees import read_trees"),
        ("models.compiled.dispatch", "from scfe_sklearn.models.classifiers import skorch_net"),
        ("recourse.judge", "import scfe_sklearn.rules.rules"),
        ("explainer", "if TYPE_CHECKING:\n    import scfe_sklearn.data.table"),
    ],
)
def test_a_planted_violation_inside_a_room_is_caught(name, source):
    modules = {module_of_file(path) for path in FILES}
    assert len(violations_inside(source, f"{PACKAGE}.{name}", modules)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("rules.ranges", "from scfe_sklearn.rules.kinds import Kind"),
        ("recourse.judge", "from scfe_sklearn.data import Table"),
        ("explainer", "from scfe_sklearn.rules import Rules\nimport scfe_sklearn.metrics"),
    ],
)
def test_what_is_allowed_inside_a_room_passes(name, source):
    modules = {module_of_file(path) for path in FILES}
    assert violations_inside(source, f"{PACKAGE}.{name}", modules) == []


@pytest.mark.parametrize(
    "source",
    [
        "import polars as pl",
        "try:\n    import matplotlib.pyplot as plt\nexcept ImportError:\n    pass",
        "if not TYPE:\n    from skorch import NeuralNet",
        "if TYPE_CHECKING:\n    import torch\nelse:\n    import skorch",
        "class A:\n    import jinja2",
        "from scfe_sklearn.room import other",
        "import scfe_sklearn.room.other",
        "from scfe_sklearn.room.other import name",
    ],
)
def test_a_planted_optional_package_is_caught(source):
    modules = {
        PACKAGE: "",
        f"{PACKAGE}.room": "",
        f"{PACKAGE}.room.other": "import polars",
        f"{PACKAGE}.start": source,
    }
    assert len(loaded_by(modules, f"{PACKAGE}.start")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import polars as pl",
        "if TYPE_CHECKING:\n    import polars as pl",
        "def f():\n    from scfe_sklearn.room import other",
        "import scfe_sklearn.room",
    ],
)
def test_an_optional_package_may_be_loaded_later(source):
    modules = {
        PACKAGE: "",
        f"{PACKAGE}.room": "import numpy",
        f"{PACKAGE}.room.other": "import polars",
        f"{PACKAGE}.start": source,
    }
    assert loaded_by(modules, f"{PACKAGE}.start") == set()


@pytest.mark.parametrize(
    ("room", "source"),
    [
        (
            "solvers",
            "from scfe_sklearn.proximal import Box\nimport scfe_sklearn.solvers.problem",
        ),
        ("rules", "import pandas\nfrom scfe_sklearn.data import Table"),
        ("explainer", "from scfe_sklearn import metrics"),
        ("explanation", "def f():\n    from scfe_sklearn.inspection import display"),
        ("__main__", "from scfe_sklearn import CounterfactualExplainer"),
    ],
)
def test_what_is_allowed_passes(room, source):
    assert violations(source, room) == []
