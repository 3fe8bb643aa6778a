"""Files appear whole or not at all, and the old one stays where the new one fails."""

import errno
import os
import stat
import sys
import threading

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB

from scfe_sklearn import CounterfactualExplainer, save
from scfe_sklearn._utils import files as module
from scfe_sklearn._utils.files import write_file
from scfe_sklearn.image.visual.paths import VisualPaths

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")


@pytest.fixture(scope="module")
def explainer():
    X, y = load_iris(return_X_y=True)
    return CounterfactualExplainer(GaussianNB()).fit(X, y)


@pytest.fixture(scope="module")
def result(explainer):
    return explainer.explain(load_iris().data[:3], 1)


def writers(explainer, result, monkeypatch):
    pytest.importorskip("skops")
    pytest.importorskip("jinja2")
    monkeypatch.setattr("scfe_sklearn.image.visual.paths.path_page", lambda *_: "<p>paths")
    return {
        "page.html": result.to_html,
        "kept.json": result.to_json,
        "e.skops": lambda path: save(explainer, path),
        "paths.html": VisualPaths({}, {}).to_html,
    }


def full(path, data):
    """Write half of it, as a disk that is full then does."""
    path.write_bytes(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["page.html", "kept.json", "e.skops", "paths.html"])
def test_every_writer_keeps_the_old_file_on_a_full_disk(
    name, explainer, result, tmp_path, monkeypatch
):
    write = writers(explainer, result, monkeypatch)[name]
    path = tmp_path / name
    write(path)
    before = path.read_bytes()
    assert before
    monkeypatch.setattr(module, "_write_new", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the size of files")
def test_write_file_keeps_the_old_file_at_a_limit_of_the_size(tmp_path):
    import resource
    import signal

    path = tmp_path / "file"
    write_file(path, b"old")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(OSError):
            write_file(path, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_file_leaves_nothing_behind_when_interrupted(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []


def test_write_file_leaves_files_of_the_user_alone(tmp_path):
    others = [tmp_path / f"file{end}" for end in (".part", ".tmp", "~")]
    for other in others:
        other.write_text("precious")
    write_file(tmp_path / "file", "new")
    assert [other.read_text() for other in others] == ["precious"] * 3
    assert len(list(tmp_path.iterdir())) == 4


@posix
def test_write_file_writes_through_links(tmp_path):
    (tmp_path / "folder").mkdir()
    goal, link = tmp_path / "folder" / "goal", tmp_path / "link"
    goal.write_text("old")
    link.symlink_to(goal)
    chain = tmp_path / "chain"
    chain.symlink_to("link")
    write_file(chain, "new")
    assert chain.is_symlink() and link.is_symlink() and goal.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to("folder/made")
    write_file(dangling, "made")
    assert dangling.is_symlink() and (tmp_path / "folder" / "made").read_text() == "made"


@posix
def test_write_file_keeps_permissions(tmp_path):
    private, new, plain = (tmp_path / name for name in ("private", "new", "plain"))
    private.write_text("old")
    private.chmod(0o600)
    write_file(private, "new")
    write_file(new, "new")
    plain.write_text("")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert new.stat().st_mode == plain.stat().st_mode


@posix
def test_write_file_writes_into_pipes_and_devices(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, "through")
    reader.join()
    assert read == [b"through"] and stat.S_ISFIFO(pipe.stat().st_mode)
    write_file(os.devnull, "gone")
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)


def test_write_file_refuses_folders_and_missing_folders(tmp_path):
    with pytest.raises(OSError):
        write_file(tmp_path, "text")
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "none" / "file", "text")


def test_write_file_takes_the_longest_names_and_keeps_line_ends(tmp_path):
    path = tmp_path / ("n" * 250)
    write_file(path, "a\r\nb\n\u00e9")
    assert path.read_bytes() == b"a\r\nb\n\xc3\xa9"


def test_lone_surrogates_survive_a_file_of_json(result, tmp_path):
    import dataclasses

    odd = dataclasses.replace(result, reason=np.array(["\ud800", "", ""], dtype=object))
    odd.to_json(tmp_path / "kept.json")
    again = type(result).from_json(tmp_path / "kept.json")
    assert again.reason.tolist() == ["\ud800", "", ""]
