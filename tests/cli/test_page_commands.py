"""The commands of the page on the command line do what it says."""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd

from scfe_sklearn import Explanation
from scfe_sklearn.cli import main
from scfe_sklearn.cli.messages import EXIT_CODES
from scfe_sklearn.cli.parser import build_parser
from scfe_sklearn.serving import WhatIfServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "command_line.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_commands_of_the_page(desk, tmp_path, monkeypatch):
    def ctrl_c(_):
        raise KeyboardInterrupt

    for name in ("model.skops", "training.csv", "refused.csv"):
        shutil.copy(desk.files[name], tmp_path / name)
    rules = re.search(r'`(\{"ranges".*?\})`', TEXT)[1]
    (tmp_path / "rules.json").write_text(rules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(WhatIfServer, "wait", ctrl_c)
    block = re.search(r"^```sh\n(.*?)^```", TEXT, flags=re.S | re.M)[1]
    commands = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    assert [command[1] for command in commands] == ["fit", "explain", "explain", "report", "serve"]
    for program, *arguments in commands:
        assert program == "scfe-sklearn"
        assert main([*arguments, "--quiet"]) in ((0, 1) if "--strict" in arguments else (0,))
    table = pd.read_csv("recourse.csv")
    assert table["success"].any()
    assert (table["n_changes"].dropna() <= 2).all()
    kept = Explanation.from_json("recourse.json")
    assert kept.index[0] == "P0"
    assert "debt_ratio" in " ".join(kept.rules_text)
    assert (kept.probability_after[kept.success] >= 0.8).all()
    assert "What you can do" in Path("letter.html").read_text(encoding="utf-8")


def test_options_and_exit_codes_exist():
    help_text = "".join(
        command.format_help()
        for action in build_parser("x")._actions
        if isinstance(action.choices, dict)
        for command in action.choices.values()
    )
    for option in re.findall(r"`(--[a-z-]+)", TEXT):
        assert option in help_text
    codes = re.findall(r"^\| (\d+) \|", TEXT, flags=re.M)
    assert len(codes) == 7
    for code in codes:
        assert re.search(rf"^  {code} ", EXIT_CODES, flags=re.M), code
    for command in re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.M):
        assert f"    {command} " in build_parser("x").format_help()
