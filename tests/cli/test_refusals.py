"""What goes wrong has an exit code and one sentence that names the option."""

import builtins
import importlib.util
import json

import pytest
from sklearn.ensemble import RandomForestClassifier

from scfe_sklearn.cli import main

skops_io = pytest.importorskip("skops.io")


def refused(arguments, code, *words):
    """Run in the way of a shell, whoever ends the command."""

    def check(capsys):
        try:
            got = main(arguments)
        except SystemExit as stopped:
            got = stopped.code
        printed, said = capsys.readouterr()
        assert got == code, said
        assert printed == ""
        assert "Traceback" not in said
        for word in words:
            assert word in said
        return said

    return check


OPTIONS = {
    "nothing": ([], "COMMAND"),
    "unknown command": (["explian"], "explian"),
    "no model": (["explain", "--data", "x.csv"], "--model"),
    "not a whole number": (["explain", "--max-changes", "0"], "--max-changes"),
    "not a weight": (["explain", "--tau", "-1"], "--tau"),
    "not a number": (["explain", "--at-least", "nan"], "--at-least"),
    "no time": (["explain", "--time-limit", "0"], "--time-limit"),
    "no answers": (["explain", "--options", "0"], "--options"),
    "no port": (["serve", "--port", "70000"], "--port"),
    "abbreviated": (["explain", "--mod", "x"], "--model"),
    "unknown density": (["fit", "--density", "flow"], "--density"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options(name, capsys):
    arguments, word = OPTIONS[name]
    refused(arguments, 2, word)(capsys)


ASKED = {
    "class": (["--target", "aproved"], "'--target' option", "Did you mean 'approved'?"),
    "column": (["--immutable", "sxe"], "'--immutable' option", "Did you mean 'sex'?"),
    "id": (["--id", "persn"], "'--id' option", "'person'"),
    "at most": (["--at-most", "0.3"], "'--at-most' option needs '--target'"),
    "at most one": (
        ["--target", "approved", "--at-most", "3"],
        "'--at-most' option must be a probability in [0, 1)",
    ),
    "limits": (
        ["--target", "approved", "--at-least", "0.5", "--at-most", "0.3"],
        "must not be above '--at-most'",
    ),
    "at least alone": (["--at-least", "0.5"], "'--at-least' option needs '--target'"),
    "share": (["--target", "approved", "--at-least", "2"], "'--at-least' option", "(0, 1]"),
    "suffix": (["--out", "answers.xlsx"], "'--out' option", ".html"),
    "training": (["--training", "x.csv"], "'--training' option"),
    "kind": (["--increasing", "purpose"], "'--increasing' option"),
}


@pytest.mark.parametrize("name", ASKED)
def test_options_that_do_not_fit_the_explainer(name, asked, capsys):
    arguments, *words = ASKED[name]
    refused(["explain", *asked, *arguments], 2, *words)(capsys)


RULES = {
    "text": ("{", 3, "must be JSON"),
    "list": ("[]", 3, "must hold a JSON object"),
    "twice": ('{"costs": {}, "costs": {}}', 3, "'costs' is there more than once"),
    "key": ('{"imutable": ["sex"]}', 2, "Did you mean 'immutable'?"),
    "column": ('{"ranges": {"incme": [0, 1]}}', 2, "Did you mean 'income'?"),
    "range": ('{"ranges": {"income": [0]}}', 2, "--rules, ranges"),
    "words": ('{"ranges": {"income": ["low", 1]}}', 2, "by numbers or null"),
    "level": ('{"transitions": {"housing": {"rnt": []}}}', 2, "Did you mean 'rent'?"),
    "names": ('{"immutable": "sex"}', 2, "must list columns"),
    "if": ('{"implications": [{"if": {}}]}', 2, '"then"'),
    "cost": ('{"costs": {"age": -1}}', 2, "'--rules, costs' option"),
    "relation": ('{"relations": ["age <"]}', 2, "'--rules, relations' option"),
    "direction": ('{"increasing": ["sex"]}', 2, "'--rules, increasing' option"),
    "training": ('{"steps": {"income": 100}}', 2, "is for 'fit'"),
}


@pytest.mark.parametrize("name", RULES)
def test_wrong_rules(name, asked, tmp_path, capsys):
    content, code, word = RULES[name]
    file = tmp_path / "rules.json"
    file.write_text(content)
    refused(["explain", *asked, "--rules", str(file)], code, "--rules", word)(capsys)


TABLES = {
    "empty": (b"", "it is empty"),
    "header only": (b"age,income\n", "must have rows"),
    "twice": (b"age,age\n1,2\n", "['age'] more than once"),
    "short": (b"age,sex\n1,f\n2\n", "line 3 has 1 cells, the names are 2"),
    "long": (b"age,sex\n1,f\n\n2,f,3\n", "line 4 has 3 cells"),
    "quote": (b'age,sex\n1,"f\n', "cannot be read"),
    "latin": ("age,sex\n1,\xe9\n".encode("latin-1"), "UTF-8"),
    "other": (b"age,sex\n1,f\n", "must have the columns of the training data"),
}


@pytest.mark.parametrize("name", TABLES)
def test_wrong_tables(name, asked, tmp_path, capsys):
    content, word = TABLES[name]
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    refused(["explain", *asked[:2], "--data", str(file)], 3, "'--data' file", word)(capsys)


def test_files_that_are_not_there(desk, asked, tmp_path, capsys):
    gone = str(tmp_path / "gone")
    refused(["explain", "--model", gone, *asked[2:]], 3, "'--model' file")(capsys)
    refused(["explain", *asked[:2], "--data", gone + ".csv"], 3, "'--data' file")(capsys)
    refused(["explain", *asked[:2], "--data", gone + ".parquet"], 3, "'--data' file")(capsys)
    refused(["explain", *asked[:2], "--data", gone + ".xlsx"], 2, "'--data' option")(capsys)
    refused(["explain", *asked, "--rules", gone], 3, "'--rules' file")(capsys)
    refused(["explain", *asked, "--out", gone + "/a.csv"], 4, "'--out' option")(capsys)
    refused(["report", gone, "--out", "-"], 3, "cannot be read")(capsys)


def test_files_that_are_something_else(desk, asked, tmp_path, capsys):
    other = str(tmp_path / "other.skops")
    with open(other, "wb") as file:
        file.write(b"PK\x05\x06 nothing")
    refused(["explain", "--model", other, *asked[2:]], 3, "no skops file")(capsys)
    skops_io.dump([1, 2], other)
    refused(["explain", "--model", other, *asked[2:]], 3, "must hold an estimator")(capsys)
    model = ["--model", desk.files["model.skops"], *asked[2:]]
    refused(["explain", *model], 2, "'--training' and '--label'")(capsys)
    refused(["serve", *model], 2, "'fit'")(capsys)
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"schema": "x"}))
    refused(["report", str(kept), "--out", "-"], 3, "must be an explanation")(capsys)


def test_a_tampered_explainer_is_refused(desk, asked, tmp_path, capsys):
    import zipfile

    other = str(tmp_path / "other.skops")
    with zipfile.ZipFile(asked[1]) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"2.5", b"9.5") if "schema" in name else content)
    refused(["explain", "--model", other, *asked[2:]], 3, "changed after it was saved")(capsys)


def test_fit_refuses(desk, asked, tmp_path, capsys):
    out = ["--out", str(tmp_path / "made.skops")]
    data = ["--data", desk.files["training.csv"]]
    model = ["--model", desk.files["model.skops"]]
    label = ["--label", "decision"]
    refused(["fit", *model, *data, "--label", "decison", *out], 2, "'--label' option")(capsys)
    refused(["fit", *model, *data, *label, "--out", "made.zip"], 2, "'--out' option")(capsys)
    refused(["fit", *model, *data, *label, "--out", "-"], 2, "'--out' option")(capsys)
    forest = ["--model", str(tmp_path / "forest.skops"), "--trust", "sklearn.tree._tree.Tree"]
    trees = RandomForestClassifier(3).fit(desk.training[["age", "income"]], desk.labels)
    skops_io.dump(trees, forest[1])
    gradient = ["--solver", "apg", *out]
    refused(["fit", *forest, *data, *label, *gradient], 2, "no differentiable version")(capsys)
    (tmp_path / "forest.skops").unlink()
    refused(["fit", *asked[:2], *data, *label, *out], 2, "an explainer instead")(capsys)
    few = ["--data", str(tmp_path / "few.csv")]
    desk.training[["age"]].assign(decision=desk.labels).to_csv(few[1], index=False)
    refused(["fit", *model, *few, *label, *out], 3, "must have the columns of the model")(capsys)
    holes = desk.training.assign(decision=desk.labels.where(desk.training["age"] > 30))
    holes.to_csv(few[1], index=False)
    refused(["fit", *model, *few, *label, *out], 3, "'decision' in every row")(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["few.csv"]


def test_a_missing_package_has_its_own_code(asked, monkeypatch, capsys):
    def without(name):
        def imported(module, *rest, **named):
            if module.partition(".")[0] == name:
                raise ImportError(f"No module named {name!r}")
            return real(module, *rest, **named)

        real = builtins.__import__
        return imported

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", without("skops"))
        refused(["explain", *asked], 5, "scfe-sklearn[skops]")(capsys)
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jinja2" else real(name)
    )
    refused(["explain", *asked, "--out", "page.html"], 5, "scfe-sklearn[report]")(capsys)


def test_what_nobody_expected_is_short_unless_debugged(asked, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("x" * 5000)

    monkeypatch.setattr("scfe_sklearn.explainer.CounterfactualExplainer.explain", broken)
    said = refused(["explain", *asked], 70, "unexpected RuntimeError", "--debug")(capsys)
    assert len(said) < 500
    assert main(["explain", *asked, "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_file(asked, tmp_path, monkeypatch, capsys):
    def full(path, data):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scfe_sklearn._utils.files._write_new", full)
    out = ["--out", str(tmp_path / "answers.csv")]
    refused(["explain", *asked, *out], 4, "'--out' file", "No space left")(capsys)
    assert list(tmp_path.iterdir()) == []
