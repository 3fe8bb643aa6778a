"""A call that is killed resumes to the answers of a call that is not."""

import errno
import gzip
import hashlib
import json
import os
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from scfe_sklearn import CounterfactualExplainer, Rules, checkpoint, slices, workers
from scfe_sklearn.checkpoint import MANIFEST
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.fingerprint import fingerprint

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(200, random_state=0)
X = X[["income", "age", "credit_score", "late_payments"]]
QUERY = X[40:80].set_axis([f"person {k}" for k in range(40)], axis=0)


def explainer_of(seed=0, **parameters):
    model = RandomForestClassifier(5, max_depth=4, random_state=seed)
    return CounterfactualExplainer(model, immutable=["age"], **parameters).fit(X, Y)


@pytest.fixture(scope="module")
def fitted():
    return explainer_of()


@pytest.fixture(scope="module")
def plain(fitted):
    return fitted.explain(QUERY, "approved")


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(slices, "KEPT", 8)
    monkeypatch.setattr(slices, "_next_size", lambda *_: 8)


def same(one, two):
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame(), check_exact=True)
    pd.testing.assert_frame_equal(one.factual, two.factual)
    assert one.sentences() == two.sentences() and list(one.index) == list(two.index)


def parts(folder):
    return sorted(path for path in folder.iterdir() if path.name != MANIFEST)


def killed(fitted, folder, seconds):
    """Explain in a child process, and kill it after some seconds; whether it was still at it."""
    child = os.fork()
    if child == 0:
        fitted.explain(QUERY, "approved", checkpoint=folder)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test kills a forked process")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_killed_call_resumes_to_the_same_answers(fitted, plain, tmp_path):
    pauses = np.random.default_rng(0).uniform(0.0, 0.4, 5)
    for number, pause in enumerate(pauses):
        killed(fitted, tmp_path / "run", pause)
        if number % 2:
            same(fitted.explain(QUERY, "approved", checkpoint=tmp_path / "run"), plain)
            for file in parts(tmp_path / "run")[::2]:
                file.unlink()
    same(fitted.explain(QUERY, "approved", checkpoint=tmp_path / "run"), plain)
    assert len(parts(tmp_path / "run")) == 5


def test_a_stopped_call_keeps_whole_slices_and_answers_the_rest_later(fitted, plain, tmp_path):
    stopped = fitted.explain(
        QUERY, "approved", checkpoint=tmp_path, callback=lambda progress: progress.done >= 16
    )
    assert (stopped.reason == "stopped by the callback").sum() == 24
    assert len(parts(tmp_path)) == 1  # the slice in which the call was stopped is not kept
    asked = []
    same(
        fitted.explain(
            QUERY, "approved", checkpoint=tmp_path, callback=lambda p: asked.append(p.done)
        ),
        plain,
    )
    assert min(asked) > 8 and asked[-1] == 40
    same(fitted.explain(QUERY, "approved", checkpoint=tmp_path), plain)


@pytest.mark.parametrize("damage", ["cut", "changed", "renamed", "empty"])
def test_a_damaged_slice_is_answered_again(fitted, plain, tmp_path, damage):
    fitted.explain(QUERY, "approved", checkpoint=tmp_path)
    last = parts(tmp_path)[-1]
    content = last.read_bytes()
    if damage == "cut":
        last.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        middle = len(content) // 2
        last.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "renamed":
        last.rename(last.with_name(parts(tmp_path)[0].name.replace("0000000008.", "0000000040.")))
    else:
        last.write_bytes(b"")
    (tmp_path / ".0123456789abcdef.part").write_bytes(content[:10])
    same(fitted.explain(QUERY, "approved", checkpoint=tmp_path), plain)
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "model"),
        ({"tau": 1.0}, "parameters"),
        ({"max_changes": 2}, "parameters"),
        ({"decreasing": ["income"]}, "rules"),
    ],
)
def test_another_explainer_is_refused_by_name(fitted, tmp_path, change, named):
    fitted.explain(QUERY[:8], "approved", checkpoint=tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=rf"same call\. Got '.*begun with other .*{named}"):
        explainer_of(**change).explain(QUERY[:8], "approved", checkpoint=tmp_path)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_another_call_is_refused_by_name(fitted, tmp_path):
    fitted.explain(QUERY[:8], "approved", checkpoint=tmp_path)
    for rows, options, named in [
        (QUERY[1:9], {}, "rows"),
        (QUERY[:8].assign(income=1.0), {}, "rows"),
        (QUERY[:8], {"target": "refused"}, "target"),
        (QUERY[:8], {"rules": Rules(immutable=["income"])}, "rules"),
        (QUERY[:8], {"n_counterfactuals": 2}, "number of answers"),
    ]:
        with pytest.raises(ValueError, match=f"begun with other {named}"):
            fitted.explain(rows, **{"target": "approved", **options}, checkpoint=tmp_path)


def test_another_version_and_other_folders_are_refused(fitted, tmp_path):
    run = tmp_path / "run"
    fitted.explain(QUERY[:8], "approved", checkpoint=run)
    about = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(about | {"version of the package": "0"}))
    with pytest.raises(ValueError, match="other version of the package"):
        fitted.explain(QUERY[:8], "approved", checkpoint=run)
    (run / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match=r"whose manifest\.json is damaged"):
        fitted.explain(QUERY[:8], "approved", checkpoint=run)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="which holds other files"):
        fitted.explain(QUERY[:8], "approved", checkpoint=tmp_path)
    with pytest.raises(ValueError, match="which is a file"):
        fitted.explain(QUERY[:8], "approved", checkpoint=tmp_path / "mine.txt")


def slice_of(content, start, stop):
    """A file of a slice whose checksum is right."""
    packed = gzip.compress(content)
    digest = hashlib.sha256(packed).hexdigest()
    return f"rows-{start:012d}-{stop:012d}.{digest}.json.gz", packed


def test_checkpoint_answers_foreign_slices_again_and_keeps_other_files(
    fitted, plain, tmp_path, monkeypatch
):
    few = fitted.explain(QUERY[:4], "approved").to_json().encode()
    of_others = fitted.explain(QUERY[["age", "income", "credit_score", "late_payments"]][:8])
    foreign = [
        slice_of(few, 0, 8),  # too few answers
        slice_of(few, 0, 2),  # too many
        slice_of(few, 38, 42),  # rows that the call does not have
        slice_of(few, 4, 4),
        slice_of(of_others.to_json().encode(), 8, 16),  # columns in another order
        slice_of(b"not JSON", 16, 24),
        slice_of(b"[" * 100_000, 16, 24),
        slice_of(b" " * 10_000_000 + few, 24, 28),  # more than may be unpacked
    ]
    fitted.explain(QUERY, "approved", checkpoint=tmp_path)
    for file in parts(tmp_path):
        file.unlink()
    for name, content in foreign:
        (tmp_path / name).write_bytes(content)
    own = {".mine.part": b"1", "rows.txt": b"2", "rows-1-2.json.gz": b"3", "evil.pkl": b"4"}
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "rows-folder").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / slice_of(b"a pipe", 0, 8)[0])
    monkeypatch.setattr(checkpoint, "MAX_SIZE", 5_000_000)
    same(fitted.explain(QUERY, "approved", checkpoint=tmp_path), plain)
    assert all((tmp_path / name).read_bytes() == content for name, content in own.items())
    assert not [name for name, _ in foreign if (tmp_path / name).exists()]
    assert len([file for file in parts(tmp_path) if len(file.name) > 50]) == 5


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "null", "{", "\x00", None])
def test_damaged_manifest_is_refused(fitted, tmp_path, content):
    if content is None:
        (tmp_path / MANIFEST).mkdir()
    else:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(ValueError, match=r"'checkpoint' parameter .* manifest\.json is damaged"):
        fitted.explain(QUERY[:8], "approved", checkpoint=tmp_path)


def test_a_full_disk_is_named_and_leaves_what_was_kept(fitted, plain, tmp_path, monkeypatch):
    written = []
    real = os.fsync

    def full(file):
        written.append(file)
        if len(written) == 4:  # the manifest and two slices fit
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"'checkpoint' folder .* cannot be written to .No space left"
    ):
        fitted.explain(QUERY, "approved", checkpoint=tmp_path)
    assert len(parts(tmp_path)) == 2
    same(fitted.explain(QUERY, "approved", checkpoint=tmp_path), plain)


def test_rules_and_targets_of_each_row_are_kept_apart(fitted, tmp_path):
    low = pd.Series(np.arange(40.0), index=QUERY.index)
    options = {
        "target": np.where(np.arange(40) % 3, "approved", "refused"),
        "rules": Rules(ranges={"late_payments": (0, low)}),
        "n_counterfactuals": 2,
        "best_effort": True,
    }
    same(fitted.explain(QUERY, **options, checkpoint=tmp_path), fitted.explain(QUERY, **options))
    same(fitted.explain(QUERY, **options, checkpoint=tmp_path), fitted.explain(QUERY, **options))


def test_workers_give_the_same_answers(fitted, plain, tmp_path, monkeypatch):
    joblib = pytest.importorskip("joblib")
    monkeypatch.setattr(workers, "LEAST", 5)
    with joblib.parallel_config(backend="threading"):
        same(fitted.explain(QUERY, "approved", n_jobs=2), plain)
        same(fitted.explain(QUERY, "approved", n_jobs=2, checkpoint=tmp_path), plain)
    assert len(parts(tmp_path)) == 8
    same(fitted.explain(QUERY, "approved", checkpoint=tmp_path), plain)


def test_a_worker_that_dies_is_tried_again_and_then_reported(fitted, plain, monkeypatch):
    from concurrent.futures import BrokenExecutor

    class Dying:
        """Workers that die for the 6th row, and once for the first."""

        supports_return_generator = False
        died = 0

        def __init__(self, **options):
            pass

        def __call__(self, tasks):
            out = []
            for function, positional, named in tasks:
                labels = positional[1].X.index
                if "person 5" in labels or ("person 0" in labels and not Dying.died):
                    Dying.died += 1
                    raise BrokenExecutor("it is gone")
                out.append(function(*positional, **named))
            return out

    monkeypatch.setattr(workers, "Parallel", Dying)
    monkeypatch.setattr(workers, "LEAST", 5)
    with pytest.warns(RuntimeWarning, match="worker process died"):
        result = fitted.explain(QUERY, "approved", n_jobs=2)
    assert result.reason[5] == workers.DIED and result.status[5] == "model failed"
    rest = np.arange(40) != 5
    same(result[rest], plain[rest])


@pytest.mark.parametrize("n_jobs", [0, 1.5, True, "2"])
def test_no_number_of_workers_is_refused(fitted, n_jobs):
    with pytest.raises(ValueError, match="'n_jobs' parameter of explain must be an int other"):
        fitted.explain(QUERY[:2], n_jobs=n_jobs)


def test_fingerprints_see_content_and_nothing_else():
    torch = pytest.importorskip("torch")

    def shifted(by):
        return lambda frame: frame + by

    assert fingerprint(shifted(1)) == fingerprint(shifted(1)) != fingerprint(shifted(2))
    assert fingerprint(torch.arange(3)) == fingerprint(torch.arange(3))
    assert fingerprint(torch.arange(3)) != fingerprint(torch.arange(3.0))
    text = "".join(["a", "b"])
    assert fingerprint([text, text]) == fingerprint(["ab", sys.intern("ab")])
    with pytest.raises(TypeError, match="cannot be fingerprinted"):
        fingerprint(x for x in [])
