"""Damaged and hostile files raise ValueError, and take no more memory than is allowed."""

import copy
import io
import json
import random
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.naive_bayes import GaussianNB

from scfe_sklearn import CounterfactualExplainer, Explanation, load, save
from scfe_sklearn._utils.files import check_archive
from scfe_sklearn._utils.json_codec import pack, unpack
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.persistence import MANIFEST, VERSION

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(150, random_state=0)
X = X[["age", "income"]]
SMALL = 1 << 22


@pytest.fixture(scope="module")
def explainer():
    return CounterfactualExplainer(GaussianNB()).fit(X, Y)


@pytest.fixture(scope="module")
def saved(explainer, tmp_path_factory):
    pytest.importorskip("skops")
    path = tmp_path_factory.mktemp("saved") / "e.skops"
    save(explainer, path)
    return path


def peak(call):
    """Bytes that a call takes at most, as Python and NumPy allocate them."""
    tracemalloc.start()
    try:
        call()
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


def resealed(saved, path, more=(), schema=None):
    """Write the archive with other members and a checksum that is right."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name != MANIFEST and not (name == "schema.json" and schema is not None):
                new.writestr(name, old.read(name))
        if schema is not None:
            new.writestr("schema.json", schema)
        for name, content in more:
            new.writestr(name, content)
    try:
        digest = check_archive(path.read_bytes(), sys.maxsize)
    except RecursionError:
        digest = ""
    manifest = {"format": "scfe_sklearn", "version": VERSION, "sha256": digest}
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))
    return path


def test_load_of_any_flipped_bit_or_end_is_an_explainer_or_a_value_error(saved, tmp_path):
    raw, chance = saved.read_bytes(), random.Random(0)
    path = tmp_path / "e.skops"
    kinds = set()
    for turn in range(150):
        bad = bytearray(raw)
        if turn % 3:
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        else:
            del bad[chance.randrange(len(bad)) :]
        path.write_bytes(bad)
        try:
            kinds.add(type(load(path)))
        except ValueError as error:
            kinds.add(ValueError)
            assert repr(str(path)) in str(error)
    assert kinds <= {CounterfactualExplainer, ValueError}


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"[]",
        b"{}",
        b'{"protocol": 2}',
        b'{"protocol": "2", "__loader__": "DictNode"}',
        b'{"protocol": 2, "__loader__": "None"}',
        b'{"protocol": 2, "__loader__": "ListNode", "__module__": "builtins", '
        b'"__class__": "list", "content": 1}',
        b'{"a":' * 50_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"\xff\xfe",
    ],
)
def test_load_of_a_foreign_schema_is_a_value_error(saved, tmp_path, schema):
    try:
        path = resealed(saved, tmp_path / "e.skops", schema=schema)
    except ValueError:
        path = tmp_path / "e.skops"
    with pytest.raises(ValueError, match="is no saved explainer, or is damaged"):
        load(path)


def test_load_refuses_a_member_that_unpacks_to_too_much(saved, tmp_path):
    path = resealed(saved, tmp_path / "e.skops", [("more", bytes(30_000_000))])
    assert path.stat().st_size < 200_000

    def refused():
        with pytest.raises(ValueError, match=r"unpacks to more than 4,194,304 bytes.*max_size"):
            load(path, max_size=SMALL)

    assert peak(refused) < SMALL
    assert load(path, max_size=40_000_000).explain(X[:1]) is not None


def test_load_refuses_many_members_that_unpack_to_too_much_together(saved, tmp_path):
    path = resealed(saved, tmp_path / "e.skops", [(f"m{k}", bytes(1 << 20)) for k in range(8)])
    with pytest.raises(ValueError, match="unpacks to more than"):
        load(path, max_size=SMALL)


def test_load_finds_a_member_that_claims_to_be_short(saved, tmp_path):
    path = resealed(saved, tmp_path / "e.skops", [("more", bytes(30_000_000))])
    raw = path.read_bytes()
    size = (30_000_000).to_bytes(4, "little")
    assert raw.count(size) == 2  # in the member's own header and in the directory
    path.write_bytes(raw.replace(size, (9).to_bytes(4, "little")))

    def refused():
        with pytest.raises(ValueError, match="is damaged"):
            load(path)

    assert peak(refused) < 20_000_000


def test_load_counts_archives_within_the_archive(saved, tmp_path):
    inner = io.BytesIO()
    scipy.sparse.save_npz(inner, scipy.sparse.csr_matrix(np.ones((1, 2_000_000))))
    path = resealed(saved, tmp_path / "e.skops", [("matrix.npz", inner.getvalue())])
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match="unpacks to more than"):
        load(path, max_size=SMALL)


def test_load_counts_a_member_as_often_as_it_is_named(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        schema = json.loads(archive.read("schema.json"))
    schema["more"] = [{"file": "more"}] * 10
    path = resealed(
        saved, tmp_path / "e.skops", [("more", bytes(1 << 20))], json.dumps(schema).encode()
    )
    with pytest.raises(ValueError, match="unpacks to more than"):
        load(path, max_size=SMALL)


def test_load_refuses_a_schema_of_too_many_values(saved, tmp_path):
    path = resealed(saved, tmp_path / "e.skops", schema=b"[" + b"0," * 1_000_000 + b"0]")
    with pytest.raises(ValueError, match="unpacks to more than"):
        load(path, max_size=SMALL)


def test_load_refuses_other_compressions(saved, tmp_path):
    path = tmp_path / "e.skops"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="is damaged"):
        load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"PK\x05\x06" + bytes(18),  # an archive of nothing
        b"PK\x05\x06" + b"\xff" * 18,
        b"#!/bin/sh\nreboot\n",
        b"cos\nsystem\n(S'touch executed'\ntR.",  # a pickle
        b"\x80\x04\x95",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_load_of_another_format_is_a_value_error_and_runs_nothing(tmp_path, monkeypatch, content):
    pytest.importorskip("skops")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.skops").write_bytes(content)
    with pytest.raises(ValueError, match="is no saved explainer, or is damaged"):
        load("e.skops")
    assert [path.name for path in tmp_path.iterdir()] == ["e.skops"]


@pytest.mark.parametrize(
    "name",
    ["../escaped.py", "/tmp/../escaped.py", "..\\escaped.py", "C:\\escaped.py", "folder/", "a\nb"],
)
def test_load_writes_no_member_wherever_its_name_points(saved, tmp_path, monkeypatch, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    path = resealed(saved, inside / "e.skops", [(name, b"raise SystemExit")])
    before = sorted(tmp_path.rglob("*"))
    assert load(path).explain(X[:1]) is not None
    assert sorted(tmp_path.rglob("*")) == before


def test_load_reads_no_file_outside_of_the_archive(saved, tmp_path):
    (tmp_path / "secret.npy").write_bytes(b"secret")
    with zipfile.ZipFile(saved) as archive:
        schema = archive.read("schema.json").decode()
        numbers = [name for name in archive.namelist() if name.endswith(".npy")]
    schema = schema.replace(numbers[0], str(tmp_path / "secret.npy"))
    path = resealed(saved, tmp_path / "e.skops", schema=schema.encode())
    with pytest.raises(ValueError, match="is no saved explainer, or is damaged"):
        load(path)


def with_types(schema, module, name):
    """Every node of a class built as another class."""
    if isinstance(schema, list):
        return [with_types(part, module, name) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: with_types(part, module, name) for key, part in schema.items()}
    if found.get("__class__") == "CounterfactualExplainer":
        found |= {"__module__": module, "__class__": name}
    return found


@pytest.mark.parametrize(
    "dangerous",
    ["os.system", "builtins.eval", "builtins.exec", "subprocess.Popen", "pickle.loads",
     "importlib.import_module", "scfe_sklearn._utils.files.write_file", "torch.load",
     "sklearn.externals.joblib.load", "antigravity.fly"],
)  # fmt: skip
def test_load_refuses_a_dangerous_type_by_its_name(saved, tmp_path, dangerous):
    with zipfile.ZipFile(saved) as archive:
        schema = json.loads(archive.read("schema.json"))
    module, _, name = dangerous.rpartition(".")
    schema = json.dumps(with_types(schema, module, name)).encode()
    path = resealed(saved, tmp_path / "e.skops", schema=schema)
    with pytest.raises(TypeError, match=rf"types that are not trusted: .*'{dangerous}'"):
        load(path)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "1", None])
def test_load_refuses_a_max_size_that_is_none(saved, size):
    with pytest.raises(ValueError, match=r"'max_size' parameter of load must be an int in \[1"):
        load(saved, max_size=size)


# ------------------------------------------------------------------------------ explanations


@pytest.fixture(scope="module")
def content(explainer):
    return json.loads(explainer.explain(X[:4]).to_json())


def with_field(content, name, value):
    return json.dumps({**content, "fields": {**content["fields"], name: value}})


def array(dtype, values, shape=None):
    shape = [len(values)] if shape is None else shape
    return {"is": "array", "dtype": dtype, "shape": shape, "values": values}


DAMAGED = {
    "large int": array("int64", [10**30] * 4),
    "large shape": array("float64", [1.0], [10**18]),
    "many rows of nothing": array("float64", [], [10**9, 0]),
    "many axes": array("float64", [1.0], [1] * 100),
    "wide texts": array("U250000000", ["a"] * 4),
    "wide bytes": array("S250000000", ["a"] * 4),
    "wide records": array("V250000000", ["a"] * 4),
    "wide parts": array("(1000000,)f8", [1.0] * 4),
    "records": array("i8,i8", [[1, 2]] * 4),
    "complex": array("complex128", [1.0] * 4),
    "no type": array("none", [1.0] * 4),
    "a list within": array("float64", [[1.0]] * 4),
    "wide extension": {
        "is": "index",
        "names": [None],
        "labels": {"dtype": "U250000000", "extension": True, "values": ["a"] * 4},
    },
    "polars twice": {
        "is": "polars",
        "columns": ["a", "a"],
        "data": [{"dtype": "Int8", "values": [3] * 4}] * 2,
    },
    "polars overflow": {
        "is": "polars",
        "columns": ["a"],
        "data": [{"dtype": "Int8", "values": [3000] * 4}],
    },
    "bad date": {"is": "date", "value": "2020-99-99"},
    "bad moment": {"is": "timestamp", "value": 10**40, "unit": "ns", "zone": None},
    "bad zone": {"is": "timestamp", "value": 1, "unit": "ns", "zone": "Nowhere"},
    "bad bytes": {"is": "bytes", "value": "\u00e9"},
    "unhashable": {"is": "dict", "items": [[[1], 2]]},
    "number": 3,
    "nothing": None,
    "text": "found",
}


@pytest.mark.parametrize("field", ["status", "factual", "index", "background", "kinds", "target"])
@pytest.mark.parametrize("name", DAMAGED)
def test_from_json_of_a_damaged_field_is_a_value_error(content, field, name):
    if "polars" in name:
        pytest.importorskip("polars")
    if field in ("index", "background") and DAMAGED[name] is None:
        pytest.skip("None is allowed")
    if field == "target" and name in ("a list within",):
        pytest.skip("a target may be anything")
    text = with_field(content, field, copy.deepcopy(DAMAGED[name]))

    def refused():
        with pytest.raises(ValueError):
            Explanation.from_json(text)

    assert peak(refused) < 100_000_000


@pytest.mark.parametrize("value", ["U20000000", "U100"])
def test_unpack_counts_the_claims_of_all_arrays(value):
    many = [array(value, ["a"] * 8)] * 20_000
    with pytest.raises(ValueError, match="more memory than its values"):
        unpack([array("U20000000", ["a"]), *many])


@pytest.mark.parametrize("width", [1, 20, 500])
def test_unpack_takes_wide_texts_that_are_there(width):
    texts = np.array(["x" * width] * 1000 + ["y"] * 1000)
    np.testing.assert_array_equal(unpack(pack(texts)), texts, strict=True)


@pytest.mark.parametrize("text", ['{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "{" * 100_000])
def test_from_json_of_deep_text_is_a_value_error(text):
    with pytest.raises(ValueError, match="must be an explanation in JSON"):
        Explanation.from_json(text)


def test_from_json_of_a_field_that_is_deep_is_a_value_error(content):
    deep = []
    for _ in range(400):
        deep = [{"is": "tuple", "items": deep}]
    with pytest.raises(ValueError):
        Explanation.from_json(with_field(content, "levels", deep))


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff \n", " "])
def test_from_json_reads_text_and_files_with_a_byte_order_mark(content, mark, tmp_path):
    text = mark + json.dumps(content)
    path = tmp_path / "kept.json"
    path.write_text(text, encoding="utf-8")
    for source in (text, path):
        assert len(Explanation.from_json(source)) == 4


def test_from_json_of_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Explanation.from_json(tmp_path / "none.json")


def mutated(value, chance):
    """Change one place of a tree of JSON."""
    value = copy.deepcopy(value)
    node, odd = value, [None, -1, 10**20, 1.5, "x", [], {}, True, [1, [2]], {"is": "tuple"}]
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = chance.choice(keys)
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.85:
            node = inner
            continue
        if isinstance(node, list) and chance.random() < 0.3:
            del node[key]
        else:
            node[key] = chance.choice(odd)
        return value


def test_from_json_of_any_changed_place_is_an_explanation_or_a_value_error(content):
    chance = random.Random(0)
    for _ in range(400):
        changed = {**content, "fields": mutated(content["fields"], chance)}
        try:
            found = Explanation.from_json(json.dumps(changed))
        except ValueError:
            continue
        assert isinstance(found, Explanation)


def test_a_frame_of_polars_in_json_is_read_whole(content):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert unpack(json.loads(json.dumps(pack(frame)))).equals(frame)


def test_unpack_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"shape \[3\] has not 2 values"):
        unpack(array("float64", [1.0, 2.0], [3]))
    frame = pd.DataFrame({"a": [1.0]})
    packed = pack(frame)
    packed["index"] = {"is": "index", "names": [None], "range": [0, 10**12, 1]}
    with pytest.raises(ValueError):
        unpack(packed)
