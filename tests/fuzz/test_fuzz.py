"""Every target of the fuzzer runs; what it found before stays mended."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, settings

from scfe_sklearn import CounterfactualExplainer, Rules
from tests.fuzz import __main__ as command
from tests.fuzz import targets

pytest.importorskip("skops")
pytestmark = pytest.mark.filterwarnings("ignore")
FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", ["questions", "parameters", "files"])
def test_targets_hold_for_a_few_inputs(name):
    FEW(targets.hypothesis_test(name))()


def test_command_names_all_targets():
    assert list(command.NAMES) == list(targets.PROPERTIES)


def test_command_ends_in_time_and_says_what_it_ran():
    arguments = ["--minutes", "0.01", "--targets", "files", "--examples", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "files: " in done.stdout, done.stderr


def broken(data):
    raise AssertionError("found it")


def test_command_fails_where_a_target_fails(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0.1", "--targets", "files"])
    monkeypatch.setitem(targets.PROPERTIES, "files", (broken, targets.PROPERTIES["files"][1]))
    assert command.fuzz(command.options()) == 1
    shown = capsys.readouterr()
    assert "-- files, --seed 0" in shown.out and "found it" in shown.err


# ----------------------------------------------------------------------------------------- found


def test_time_limit_hides_no_error_about_values_of_another_length():
    _, _, _, explainer = targets.world()
    rows = targets.points.EVERY[:6]
    with pytest.raises(ValueError, match="'target' parameter of explain"):
        explainer.explain(rows, np.array([1, 0]), time_limit=1e-9)
    assert len(explainer.explain(rows[:0], 1, time_limit=1e-9)) == 0


@pytest.mark.parametrize("flag", [(None, []), [[1], [2, 3]], [True, [False]]])
def test_ragged_flags_are_refused_by_name(flag):
    rules = Rules(decreasing={"whole": flag})
    with pytest.raises(ValueError, match=r"'decreasing' .*'whole'"):
        targets.world()[3].explain(targets.points.EVERY[:2], rules=rules)


@pytest.mark.parametrize("name", ["categorical", "integer", "immutable", "fillable"])
def test_missing_value_is_no_name_of_a_column(name):
    X, y, model, _ = targets.world()
    explainer = CounterfactualExplainer(model, **{name: [pd.NA]})
    with pytest.raises(ValueError, match=rf"'{name}' parameter"):
        explainer.fit(X, y)


def test_checkpoint_of_cells_that_no_file_holds_is_refused_by_name(tmp_path):
    rows = targets.points.EVERY[:2].astype({"whole": complex})
    with pytest.raises(TypeError, match=r"'checkpoint' parameter .* cannot be written"):
        targets.world()[3].explain(rows, 1, checkpoint=tmp_path)
