"""Standard streams that fail, files that are kept, cells without formulas, and limits of size."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import GaussianNB

from scfe_sklearn import CounterfactualExplainer, Explanation
from scfe_sklearn.cli import commands, main
from scfe_sklearn.explanation.wording import neutral, one_line, spreadsheet_cell

skops_io = pytest.importorskip("skops.io")
linux = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
COMMAND = [sys.executable, "-c", "import sys; from scfe_sklearn.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An explainer of three columns, its rows, and rows to explain."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)).round(2), columns=list("abc"))
    y = (X.sum(axis=1) > 0).astype(int)
    from scfe_sklearn import save

    save(CounterfactualExplainer(GaussianNB()).fit(X, y), folder / "e.skops")
    X[y == 0][:5].to_csv(folder / "q.csv", index=False)
    return folder


@pytest.fixture
def ask(files):
    return ["explain", "--model", str(files / "e.skops"), "--data", str(files / "q.csv"),
            "--target", "1"]  # fmt: skip


def run(arguments, **streams):
    return subprocess.run([*COMMAND, *arguments], **{"stderr": subprocess.PIPE, **streams})


@linux
@pytest.mark.parametrize("more", [[], ["--out", "-"], ["--help"]], ids=["sentences", "csv", "help"])
def test_a_full_standard_output_is_an_output_that_cannot_be_written(ask, more):
    with open("/dev/full", "w") as full:
        done = run([*ask, *more], stdout=full)
    assert done.returncode == 4
    said = done.stderr.decode()
    assert "Standard output cannot be written: No space left on device." in said
    assert "Traceback" not in said


@linux
def test_a_full_standard_output_of_the_other_commands(files, ask, tmp_path):
    kept = str(tmp_path / "kept.json")
    assert main([*ask, "--quiet", "--out", kept]) == 0
    serve = ["serve", *ask[1:], "--quiet"]
    for arguments in (["report", kept, "--out", "-"], serve, ["demo", "--rows", "400"]):
        with open("/dev/full", "w") as full:
            assert run(arguments, stdout=full).returncode == 4


@pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")
def test_a_closed_standard_output_matters_only_where_it_is_written(ask, tmp_path):
    closed = {"preexec_fn": lambda: os.close(1)}
    assert run(ask, **closed).returncode == 4
    out = tmp_path / "a.csv"
    done = run([*ask, "--out", str(out)], **closed)
    assert done.returncode == 0 and len(pd.read_csv(out)) == 5


@linux
@pytest.mark.parametrize("how", ["full", "closed"])
def test_messages_that_cannot_be_written_change_nothing(ask, tmp_path, how):
    out = tmp_path / "a.csv"
    arguments = [*ask, "--out", str(out), "--progress"]
    if how == "full":
        with open("/dev/full", "w") as full:
            done = run(arguments, stderr=full, stdout=subprocess.PIPE)
    else:
        done = run(arguments, stderr=None, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert done.returncode == 0 and done.stdout == b""
    assert len(pd.read_csv(out)) == 5


@linux
def test_an_error_has_its_exit_code_where_it_cannot_be_told(ask):
    with open("/dev/full", "w") as full:
        assert run([*ask, "--target", "7"], stderr=full).returncode == 2
        assert run(["explain"], stderr=full).returncode == 2
        assert run([*ask[:2], "none.skops", *ask[3:]], stderr=full).returncode == 3


def test_an_output_in_another_encoding_is_refused(files, tmp_path):
    rows = pd.read_csv(files / "q.csv").assign(who="\u05e9")
    rows.to_csv(tmp_path / "q.csv", index=False)
    arguments = ["explain", "--model", str(files / "e.skops"), "--data", str(tmp_path / "q.csv"),
                 "--id", "who"]  # fmt: skip
    done = run(arguments, stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 4 and b"Standard output cannot be written" in done.stderr


# ------------------------------------------------------------------------------------- files


def test_files_of_the_user_beside_an_output_stay(ask, tmp_path):
    part, goal, link = (tmp_path / name for name in ("b.csv.part", "goal.csv", "link.csv"))
    part.write_text("precious")
    goal.write_text("old")
    assert main([*ask, "--quiet", "--out", str(tmp_path / "b.csv")]) == 0
    assert part.read_text() == "precious"
    if os.name == "posix":
        link.symlink_to(goal)
        assert main([*ask, "--quiet", "--out", str(link)]) == 0
        assert link.is_symlink() and len(pd.read_csv(goal)) == 5
    assert {path.name for path in tmp_path.iterdir()} <= {part.name, goal.name, link.name, "b.csv"}


def test_a_disk_that_fails_keeps_the_old_file(files, ask, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    out = tmp_path / "a.csv"
    out.write_text("old")
    monkeypatch.setattr("scfe_sklearn._utils.files._write_new", full)
    assert main([*ask, "--out", str(out)]) == 4
    assert "'--out' file" in capsys.readouterr().err and out.read_text() == "old"
    model = tmp_path / "m.skops"
    model.write_bytes((files / "e.skops").read_bytes())
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    rows.assign(y=(rows.a > 0).astype(int)).to_csv(tmp_path / "t.csv", index=False)
    skops_io.dump(GaussianNB().fit(rows, (rows.a > 0).astype(int)), tmp_path / "nb.skops")
    before = model.read_bytes()
    fit = ["fit", "--model", str(tmp_path / "nb.skops"), "--data", str(tmp_path / "t.csv"),
           "--label", "y", "--out", str(model)]  # fmt: skip
    assert main(fit) == 4 and model.read_bytes() == before


DAMAGED = [
    {"is": "array", "dtype": "int64", "shape": [5], "values": [10**30] * 5},
    {"is": "array", "dtype": "U250000000", "shape": [5], "values": ["a"] * 5},
    3,
    [],
    {"is": "none"},
    ["a", {"is": "tuple", "items": []}],
]


@pytest.mark.parametrize("field", ["status", "factual", "levels", "rules_text", "feature_names",
                                   "reason", "index", "background", "solver"])  # fmt: skip
def test_report_of_damaged_json_is_an_input_error(ask, tmp_path, field, capsys):
    kept, bad = tmp_path / "kept.json", tmp_path / "bad.json"
    assert main([*ask, "--quiet", "--out", str(kept)]) == 0
    content = json.loads(kept.read_text())
    for value in DAMAGED:
        bad.write_text(json.dumps({**content, "fields": {**content["fields"], field: value}}))
        for end in ("html", "csv", "json"):
            code = main(["report", str(bad), "--out", str(tmp_path / f"o.{end}")])
            assert code in (0, 3), capsys.readouterr().err
            (tmp_path / f"o.{end}").unlink(missing_ok=True)


def mutated(value, chance):
    node = value = json.loads(json.dumps(value))
    strange = [None, -1, 10**400, 1e308, "x", "", [], {}, True, [1, [2]], {"low": 1}, [None, None]]
    while True:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.7:
            node = inner
            continue
        node[key] = chance.choice(strange)
        return value


def test_any_changed_file_of_rules_has_an_exit_code_of_its_own(files, tmp_path, monkeypatch):
    rules = {
        "immutable": ["a"],
        "ranges": {"b": [-1, 1], "c": {"low": 0.5, "high": 2, "factor": True}},
        "relations": ["a <= 2 * b + 3"],
        "implications": [{"if": {"a": [0, None]}, "then": {"b": {"low": 0, "high": None}}}],
        "costs": {"c": 5},
        "fillable": ["b"],
    }
    chance, path = random.Random(0), tmp_path / "rules.json"
    monkeypatch.setattr(commands, "print_sentences", lambda result: None)
    for _ in range(150):
        path.write_text(json.dumps(mutated(rules, chance)))
        code = main(["explain", "--model", str(files / "e.skops"), "--data",
                     str(files / "q.csv"), "--rules", str(path), "--quiet"])  # fmt: skip
        assert code in (0, 2, 3), path.read_text()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rules_are_read_with_a_byte_order_mark(ask, tmp_path, encoding):
    path, out = tmp_path / "rules.json", tmp_path / "a.csv"
    path.write_text('{"immutable": ["a", "b"]}', encoding=encoding)
    assert main([*ask, "--rules", str(path), "--quiet", "--out", str(out)]) == 0
    asked = pd.read_csv(ask[4])
    found = pd.read_csv(out)
    found = found[found["success"]]
    assert len(found) and (found["a"].to_numpy() == asked["a"][found["row"]].to_numpy()).all()


# ------------------------------------------------------------------------------------- cells

CELLS = [
    ("=1+1", "'=1+1"),
    ("+cmd", "'+cmd"),
    ("-2+3", "'-2+3"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t=1"),
    ("\rx", "'\rx"),
    (" =1", "' =1"),
    ("\ufeff=1", "'\ufeff=1"),
    ("\uff1d1+1", "'\uff1d1+1"),
    ("-5", "-5"),
    ("+5.5e-3", "+5.5e-3"),
    ("-.5", "-.5"),
    (" -5 ", " -5 "),
    ("-5\n=1", "'-5\n=1"),
    ("-", "'-"),
    ("-1_0", "'-1_0"),
    ("-inf", "'-inf"),
    ("plain = text", "plain = text"),
    ("a\u202eb\u2066", "a\ufffdb\ufffd"),
    ("\x1b[2J\x00\x9b", "\ufffd[2J\ufffd\ufffd"),
    ("\x01=1", "'\ufffd=1"),
    ("\u05e9\u05dc", "\u05e9\u05dc"),
    ("two\nlines", "two\nlines"),
    ("", ""),
    (-5, -5),
    (None, None),
]


@pytest.mark.parametrize(("cell", "safe"), CELLS)
def test_spreadsheet_cell_is_no_formula(cell, safe):
    assert spreadsheet_cell(cell) == safe


def test_one_line_and_neutral_text():
    assert one_line("a\r\nb\u2028c\x85d\te\x1bf") == "a b c d e\ufffdf"
    assert neutral("a\nb\u2069\ud800") == "a\nb\ufffd\ufffd"


@pytest.fixture
def strange():
    """An explanation whose names, labels and levels are formulas or turn the text."""
    rows = pd.DataFrame({"=size": [-5, -7], "job\u202e": ["=1+1", "-3"]}, index=["@me", "a\x1b[2J"])
    changed = rows.assign(**{"=size": [5, 7]})
    none = np.full(2, np.nan)
    return Explanation(
        factual=rows, counterfactuals=changed, target=["+yes"] * 2, prediction=["no", "no"],
        success=[True] * 2, status=["found"] * 2, reason=["", ""], probability_before=none,
        probability_after=none, n_changes=[1, 1], distance=[1.0, 1.0], log_density=none,
        density_quantile=none, changed=[[True, False]] * 2, feature_names=list(rows.columns),
        kinds=["integer", "categorical"],
    )  # fmt: skip


def test_csv_is_written_without_formulas_and_raw_where_asked(strange, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    strange.to_json(kept)
    assert main(["report", str(kept), "--out", "-"]) == 0
    safe = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert safe[0][:3] == ["row", "'=size", "job\ufffd"]
    assert [line[:3] for line in safe[1:]] == [
        ["'@me", "5", "'=1+1"], ["a\ufffd[2J", "7", "-3"]
    ]  # fmt: skip
    assert "'+yes" in safe[1]
    assert main(["report", str(kept), "--out", "-", "--raw"]) == 0
    raw = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert raw[0][:3] == ["row", "=size", "job\u202e"]
    assert raw[1][:3] == ["@me", "5", "=1+1"] and "+yes" in raw[1]
    for line in (*safe[1:], *raw[1:]):
        assert line[1] in ("5", "7")


@pytest.mark.parametrize("kind", ["str", "category", "string", "object"])
def test_texts_of_every_dtype_are_written_without_formulas(kind):
    frame = pd.DataFrame({"a": pd.Series(["=1", "b", "=1"], dtype=kind), "n": [-1.5, 2.0, np.nan]})
    frame["missing"] = pd.Series(["=1", None, None], dtype="str" if kind == "str" else "object")
    text = commands.without_formulas(frame).to_csv(index=False)
    assert text == "a,n,missing\n'=1,-1.5,'=1\nb,2.0,\n'=1,,\n"


def test_sentences_and_pages_hold_no_control_characters(strange, tmp_path):
    shown = "\n".join([*strange.sentences(), repr(strange), strange._repr_html_()])
    shown += strange.to_html(title="\u202etitle\x1b")
    assert not set("\u202e\x1b\x00") & set(shown)
    assert "Increase =size from -5 to 5." in shown


# ------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(("end", "opener"), [("gz", gzip.open), ("bz2", bz2.open),
                                             ("xz", lzma.open)])  # fmt: skip
@pytest.mark.parametrize("content", [b"0" * 1_000_000, b"1,2,3\n" * 170_000], ids=["cell", "rows"])
def test_a_compressed_table_is_limited(files, ask, tmp_path, capsys, end, opener, content):
    path = tmp_path / f"t.csv.{end}"
    with opener(path, "wb") as file:
        file.write(b"a,b,c\n" + content + b"\n" + content + b"\n")
    assert path.stat().st_size < 20_000
    code = main([*ask[:4], str(path), "--max-size", "1"])
    assert code == 3
    assert "unpacks to more than 1 MiB" in capsys.readouterr().err


def test_a_compressed_table_within_the_limit_is_read(ask, tmp_path, capsys):
    path = tmp_path / "q.csv.gz"
    with open(ask[4], "rb") as source, gzip.open(path, "wb") as file:
        file.write(source.read())
    assert main([*ask[:4], str(path), "--target", "1", "--max-size", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_parquet_table_is_limited_by_what_it_claims(ask, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    path = tmp_path / "q.parquet"
    pd.DataFrame(dict.fromkeys("abc", np.zeros(100_000))).to_parquet(path)
    assert path.stat().st_size < 20_000
    assert main([*ask[:4], str(path), "--max-size", "1"]) == 3
    assert "unpacks to more than 1 MiB" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["explainer", "model"])
def test_a_model_file_is_limited(files, ask, tmp_path, capsys, kind):
    path = tmp_path / "m.skops"
    path.write_bytes((files / "e.skops").read_bytes())
    if kind == "model":
        skops_io.dump(GaussianNB().fit([[0.0], [1.0]], [0, 1]), path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more", bytes(2_000_000))
    assert main(["explain", "--model", str(path), *ask[3:], "--max-size", "1"]) == 3
    said = capsys.readouterr().err
    assert "'--model' file" in said and "unpacks to more than 1 MiB" in said


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5"])
def test_a_limit_of_size_is_a_whole_number(ask, size):
    with pytest.raises(SystemExit) as stopped:
        main([*ask, "--max-size", size])
    assert stopped.value.code == 2


@pytest.mark.parametrize("end", ["csv", "csv.gz", "csv.bz2", "csv.xz", "parquet", "tsv"])
def test_damaged_tables_are_input_errors(ask, tmp_path, end, capsys):
    chance, path = random.Random(0), tmp_path / f"t.{end}"
    for _ in range(10):
        path.write_bytes(chance.randbytes(300))
        assert main([*ask[:4], str(path)]) == 3
    if end == "csv.gz":
        path.write_bytes(gzip.compress(b"a,b,c\n1,2,3\n")[:-9])
        assert main([*ask[:4], str(path)]) == 3
    assert "unexpected" not in capsys.readouterr().err
