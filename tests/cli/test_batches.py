"""Parquet to parquet in batches that need not fit into memory, kept and resumed."""

import pandas as pd
import pytest

from scfe_sklearn.cli import batches, main

pytest.importorskip("pyarrow")
pytest.importorskip("skops")


@pytest.fixture
def portfolio(desk, tmp_path):
    name = tmp_path / "portfolio.parquet"
    desk.refused.assign(person=[f"P{k}" for k in range(12)]).to_parquet(name, index=False)
    return name


def command(desk, data, out, *options):
    explainer = desk.files["explainer.skops"]
    return ["explain", "--model", explainer, "--data", str(data), "--out", str(out), *options]


def test_batches_write_the_answers_of_one_call(desk, portfolio, tmp_path, monkeypatch, capsys):
    options = ["--target", "approved", "--immutable", "income", "--id", "person"]
    assert main(command(desk, portfolio, tmp_path / "whole.parquet", *options)) == 0
    whole = pd.read_parquet(tmp_path / "whole.parquet")
    assert whole["person"].tolist() == [f"P{k}" for k in range(12)]
    monkeypatch.setattr(batches, "ROWS", 5)
    assert main(command(desk, portfolio, tmp_path / "parts.parquet", *options)) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "parts.parquet"), whole)
    assert capsys.readouterr().err.count("12 rows:") == 2
    assert main(command(desk, portfolio, tmp_path / "table.csv", *options)) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["status"].tolist() == whole["status"].tolist()
    assert table["age"].tolist() == whole["age"].astype(float).tolist()


def test_a_killed_command_resumes_and_writes_whole_files_only(
    desk, portfolio, tmp_path, monkeypatch
):
    monkeypatch.setattr(batches, "ROWS", 5)
    options = ["--target", "approved", "--checkpoint", str(tmp_path / "run")]
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")
    explain = type(desk.explainer).explain
    calls = []

    def dies(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return explain(self, *args, **kwargs)

    monkeypatch.setattr(type(desk.explainer), "explain", dies)
    assert main(command(desk, portfolio, out, *options)) == 130
    assert out.read_bytes() == b"old" and not list(tmp_path.glob(".*.part"))
    options[2] = "--resume"
    assert main(command(desk, portfolio, out, *options)) == 0
    assert len(pd.read_parquet(out)) == 12
    options[1] = "refused"
    assert main(command(desk, portfolio, out, *options)) == 2
    assert len(pd.read_parquet(out)) == 12


def test_a_parquet_table_of_a_csv_file(desk, asked, tmp_path):
    out = tmp_path / "answers.parquet"
    assert main(["explain", *asked, "--target", "approved", "--out", str(out)]) == 0
    assert pd.read_parquet(out)["status"].eq("found").sum() > 6
