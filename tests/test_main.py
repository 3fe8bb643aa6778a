"""The main job: what it prints, and what it returns."""

import dataclasses
import re
import subprocess
import sys

import pytest

from scfe_sklearn import demo
from scfe_sklearn.__main__ import main

FEW = ["--rows", "600"]


@pytest.fixture(scope="module")
def desk():
    return demo.open_loan_desk(600)


def test_it_explains_and_judges_refused_applicants(capsys):
    assert main(FEW) == 0
    out = capsys.readouterr().out
    assert "450 generated loan applications" in out
    assert "sex must not change" in out
    assert len(re.findall(r"^  #\d+ +approved \d+% -> \d+% ", out, flags=re.M)) >= 4
    assert re.search(r"^ {9}(Increase|Decrease|Raise|Set) ", out, flags=re.M)
    assert re.search(r"validity +100\.0%", out)
    assert re.search(r"rule violations +0 ", out)
    assert re.search(r"minimal +\d+\.\d%", out)
    assert re.search(r"outlier factor( +\d\.\d\d){3} ", out)
    assert re.search(r"time +\d+\.\d ms", out)
    assert "nan" not in out
    assert max(map(len, out.splitlines())) <= 110


def test_rows_without_an_answer_are_shown_and_counted(capsys):
    assert main([*FEW, "--max-changes", "1", "--density", "kde", "--tau", "0"]) == 0
    out = capsys.readouterr().out
    failed, asked = map(int, re.search(r"No answer .* for (\d+) of (\d+)", out).groups())
    assert failed > 0
    assert "No change found: " in out
    assert f"{1 - failed / asked:.1%}" in re.search(r"coverage.*", out)[0]


def test_the_same_seed_prints_the_same(capsys):
    def printed(seed):
        assert main([*FEW, "--seed", seed]) == 0
        return re.sub(r"time .*", "", capsys.readouterr().out)

    first = printed("1")
    assert first == printed("1")
    assert first != printed("2")


def test_nobody_refused_is_no_error(desk, capsys, monkeypatch):
    approved = desk.decided(desk.X_test, demo.TARGET)
    generous = dataclasses.replace(desk, X_test=approved, y_test=desk.y_test[approved.index])
    monkeypatch.setattr("scfe_sklearn.cli.demonstration.open_loan_desk", lambda *_, **__: generous)
    assert main([]) == 0
    assert "Nobody was refused" in capsys.readouterr().out


def test_an_unsound_answer_is_seen_and_sets_the_exit_code(desk, capsys, monkeypatch):
    """The judge does not believe the solver: answers that are the questions are refused."""
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    refused = desk.decided(desk.X_test, demo.REFUSED)[:5]
    result = explainer.explain(refused, target=demo.TARGET)
    same = dataclasses.replace(result, counterfactuals=result.factual)
    assert demo.judge_answers(desk, explainer, same).valid == 0
    older = result.factual.assign(age=result.factual["age"] - 1)
    broken = dataclasses.replace(result, counterfactuals=older)
    assert demo.judge_answers(desk, explainer, broken).rule_violations == 5

    unsound = demo.judge_answers(desk, explainer, same)
    monkeypatch.setattr("scfe_sklearn.cli.demonstration.judge_answers", lambda *_: unsound)
    assert main(FEW) == 1
    assert "NOT SOUND" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rows", "10"],
        ["--rows", "many"],
        ["--tau", "-1"],
        ["--tau", "nan"],
        ["--tau", "inf"],
        ["--max-changes", "0"],
        ["--density", "flow"],
        ["--seed", "-1"],
        ["--unknown"],
    ],
)
def test_a_wrong_option_exits_with_2(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(wrong)
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_help_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "scfe_sklearn", "--help"], capture_output=True, text=True, check=True
    )
    for option in ("--rows", "--seed", "--density", "--tau", "--max-changes", "Exit code"):
        assert option in done.stdout
