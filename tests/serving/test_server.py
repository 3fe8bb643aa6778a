import contextlib
import http.client
import json
import socket
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from scfe_sklearn import CounterfactualExplainer, Probability, Relative, Rules
from scfe_sklearn.demo import open_loan_desk
from scfe_sklearn.serving import serve
from scfe_sklearn.serving.what_if import BadRequest, WhatIf


@pytest.fixture(scope="module")
def desk():
    return open_loan_desk(900)


@pytest.fixture(scope="module")
def explainer(desk):
    return desk.explainer().fit(desk.X_train, desk.y_train)


@pytest.fixture(scope="module")
def refused(desk):
    return desk.decided(desk.X_test, "refused")[:5]


@pytest.fixture(scope="module")
def server(explainer, refused):
    with serve(explainer, refused, target="approved") as server:
        yield server


def ask(server, path, question=None, *, method=None, raw=None, **headers):
    """Status, headers and body of a request; JSON where it is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = raw if raw is not None else None if question is None else json.dumps(question)
    given = {"Content-Type": "application/json"} if body is not None else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request(method or ("GET" if body is None else "POST"), path, body, given)
        response = connection.getresponse()
        text = response.read().decode("utf-8")
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, response.headers, json.loads(text) if is_json else text


def test_the_page_is_served_with_a_strict_policy(server):
    status, headers, page = ask(server, "/")
    assert status == 200 and page.startswith("<!DOCTYPE html>")
    assert "/*STYLE*/" not in page and "/*SCRIPT*/" not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert headers["Cache-Control"] == "no-store"
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_only_this_machine_is_listened_to(server):
    assert server.url == f"http://127.0.0.1:{server.port}/"
    assert server._server.server_address[0] == "127.0.0.1"


def test_the_answer_is_that_of_the_model(server, desk, explainer, refused):
    _, _, setup = ask(server, "/api/setup")
    names = [feature["name"] for feature in setup["features"]]
    assert names == list(refused.columns) and setup["people"] == 5
    for k in range(5):
        _, _, person = ask(server, "/api/person", {"person": k})
        values = person["values"]
        status, _, answer = ask(server, "/api/answer", {"person": k, "values": values})
        row = refused.iloc[[k]]
        assert status == 200 and answer["prediction"] == "refused" and not answer["reached"]
        chances = dict(zip(desk.model.classes_, desk.model.predict_proba(row)[0], strict=True))
        assert answer["probability"] == pytest.approx(chances["approved"])
        assert person["label"] == str(refused.index[k])
        for feature, name, value in zip(setup["features"], names, values, strict=True):
            raw = row[name].iloc[0]
            if "levels" in feature:
                assert feature["levels"][value] in (str(raw), "yes" if raw else "no")
            else:
                assert value == raw


def test_the_quantile_is_that_of_the_density(server, explainer, refused):
    _, _, person = ask(server, "/api/person", {"person": 2})
    _, _, answer = ask(server, "/api/answer", {"person": 2, "values": person["values"]})
    Z = explainer.space_.encode(refused.iloc[[2]])
    code = list(explainer.classes_).index("approved")
    own = explainer.density_.densities_[code].log_prob(torch.as_tensor(Z)).item()
    reference = explainer.density_.reference_log_prob_[code]
    assert answer["quantile"] == pytest.approx(np.mean(reference <= own))


def test_moved_values_reach_the_model(server, desk, refused):
    names = list(refused.columns)
    _, _, person = ask(server, "/api/person", {"person": 0})
    values = person["values"]
    row = refused.iloc[[0]].copy()
    for name, value, raw in (("credit_score", 790, 790), ("savings", 30_040, 30_000)):
        values[names.index(name)] = value
        row[name] = raw
    _, _, setup = ask(server, "/api/setup")
    owned = setup["features"][names.index("housing")]["levels"].index("own")
    values[names.index("housing")], row["housing"] = owned, "own"
    _, _, answer = ask(server, "/api/answer", {"person": 0, "values": values})
    assert answer["prediction"] == desk.model.predict(row)[0]
    chance = desk.model.predict_proba(row)[0, list(desk.model.classes_).index("approved")]
    assert answer["probability"] == pytest.approx(chance)
    assert answer["values"][names.index("savings")] == 30_000  # whole hundreds


def test_the_recourse_is_that_of_the_explainer(server, explainer, refused):
    expected = explainer.explain(refused.iloc[[3]], target="approved")
    _, _, person = ask(server, "/api/person", {"person": 3})
    _, _, proposal = ask(server, "/api/recourse", {"person": 3, "values": person["values"]})
    assert proposal["sentence"] == expected.sentences()[0]
    assert proposal["found"] == expected.success[0]
    assert [change["name"] for change in proposal["changes"]] == list(expected.changes["feature"])
    _, _, after = ask(server, "/api/answer", {"person": 3, "values": proposal["values"]})
    assert after["reached"] and after["probability"] == pytest.approx(proposal["probability"])
    assert after["quantile"] == pytest.approx(proposal["quantile"])


def test_a_number_that_is_too_large_is_refused(server):
    values = json.dumps(good(server)[1:])[1:]
    raw = f'{{"person": 0, "values": [1e999, {values}}}'
    status, _, answer = ask(server, "/api/answer", raw=raw)
    assert status == 400 and "must be a finite number. Got inf" in answer["error"]


def good(server):
    return ask(server, "/api/person", {"person": 0})[2]["values"]


@pytest.mark.parametrize("path", ["/api/answer", "/api/recourse"])
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, "12", "'age' must be a finite number. Got '12'"),
        (0, True, "'age' must be a finite number. Got True"),
        (0, None, "'age' must not be missing"),
        (0, 1e308, "'age' must be a finite number"),
        (0, {"a": 1}, "'age' must be a finite number. Got {'a': 1}"),
        (1, 2, "'sex' must be the position of one of its 2 levels. Got 2"),
        (1, -1, "'sex' must be the position"),
        (1, 0.5, "'sex' must be the position"),
        (1, "female", "'sex' must be the position"),
        (1, False, "'sex' must be the position"),
    ],
)
def test_bad_values_are_refused(server, path, place, value, message):
    values = good(server)
    values[place] = value
    status, _, answer = ask(server, path, {"person": 0, "values": values})
    assert status == 400 and message in answer["error"]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({}, "'person' must be an int in [0, 5). Got None"),
        ({"person": 5}, "Got 5 instead"),
        ({"person": -1}, "Got -1 instead"),
        ({"person": True}, "Got True instead"),
        ({"person": "0"}, "Got '0' instead"),
        ({"person": 10**400}, "'person' must be an int"),
        ({"person": 0}, "'values' must be a list of 14 values. Got None"),
        ({"person": 0, "values": [1]}, "'values' must be a list of 14 values. Got [1]"),
        ({"person": 0, "values": "x" * 500}, "..."),
    ],
)
def test_bad_questions_are_refused(server, question, message):
    status, _, answer = ask(server, "/api/answer", question)
    assert status == 400 and message in answer["error"] and len(answer["error"]) < 200


@pytest.mark.parametrize(
    ("raw", "headers", "expected"),
    [
        ("{", {}, 400),
        ("[]", {}, 400),
        ('{"person": NaN}', {}, 400),
        (b"\xff\xfe", {}, 400),
        ("[" * 100_000, {}, 400),
        ("{}", {"Content_Type": "text/plain"}, 415),
        ("{}", {"Content_Length": "x"}, 411),
        ("{}", {"Content_Length": "-1"}, 411),
        ("{}", {"Content_Length": "9" * 30}, 413),
        (" " * (1 << 20) + "{}", {}, 413),
        ("{}", {"Origin": "http://elsewhere.example"}, 403),
        ("{}", {"Origin": "null"}, 403),
    ],
)
def test_bad_requests_are_refused(server, raw, headers, expected):
    try:
        status, _, answer = ask(server, "/api/person", raw=raw, **headers)
    except (BrokenPipeError, ConnectionResetError):  # it was refused before all of it was sent
        assert expected == 413
        return
    assert status == expected and answer["error"]


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_is_refused(server, host):
    for path in ("/", "/api/setup"):
        status, _, answer = ask(server, path, Host=host)
        assert status == 403 and "'Host'" in answer["error"]
    assert ask(server, "/", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("path", ["/api/none", "/../pyproject.toml", "/%2e%2e/etc/passwd", "/?x"])
def test_there_is_nothing_else(server, path):
    assert ask(server, path)[0] == 404
    assert ask(server, path, {})[0] == 404
    assert ask(server, path, method="PUT")[0] == 501


def test_two_questions_at_a_time_have_their_own_answers(server):
    values = good(server)
    alone = [ask(server, "/api/recourse", {"person": k, "values": values})[2] for k in range(4)]
    together = [None] * 4

    def one(k):
        together[k] = ask(server, "/api/recourse", {"person": k, "values": values})[2]

    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_an_error_of_the_model_is_told_and_the_server_goes_on(explainer, refused, monkeypatch):
    with serve(explainer, refused, target="approved") as server:
        values = good(server)
        questions = server._server.RequestHandlerClass.questions
        monkeypatch.setattr(questions, "answer", lambda *_: 1 / 0)
        status, _, answer = ask(server, "/api/answer", {"person": 0, "values": values})
        assert status == 500 and answer["error"].startswith("ZeroDivisionError")
        assert ask(server, "/api/setup")[0] == 200


def test_a_closed_server_frees_its_port(explainer, refused):
    server = serve(explainer, refused[:1], target="approved")
    port = server.port
    server.close()
    server.wait()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))


def test_without_a_target_the_other_of_two_classes_stays_the_goal(explainer, refused):
    questions = WhatIf(explainer, refused)
    values = questions.person(0)["values"]
    proposal = questions.recourse(0, values)
    moved = questions.answer(0, proposal["values"])
    assert moved["reached"] and moved["goal"] == "approved"
    again = questions.recourse(0, proposal["values"])
    assert again["sentence"].startswith("No change needed")


def test_arrays_missing_values_and_confident_targets(explainer):
    X, y = load_iris(return_X_y=True)
    arrays = WhatIf(CounterfactualExplainer(GaussianNB()).fit(X, y), X[:2], Probability(1, 0.9))
    assert arrays.answer(0, arrays.person(0)["values"])["goal"] == "1"
    proposal = arrays.recourse(0, arrays.person(0)["values"])
    assert proposal["found"] and proposal["probability"] >= 0.9
    broken = X[:1].copy()
    broken[0, 1] = np.nan
    holes = WhatIf(arrays.explainer, broken, 1)
    values = holes.person(0)["values"]
    assert values[1] is None
    assert not holes.recourse(0, values)["found"]
    values[1] = 3.0
    assert holes.recourse(0, values)["found"]
    with pytest.raises(BadRequest, match="must not be missing"):
        arrays.answer(0, [1.0, None, 1.0, 1.0])


@pytest.mark.parametrize("port", [-1, 65536, "80", True, 1.0])
def test_bad_ports_are_refused(explainer, refused, port):
    with pytest.raises(ValueError, match="'port' parameter of serve"):
        serve(explainer, refused, port=port)


def test_bad_targets_and_no_people_are_refused(explainer, refused):
    with pytest.raises(ValueError, match="at least one row"):
        serve(explainer, refused[:0])
    with pytest.raises(ValueError, match="target"):
        serve(explainer, refused, target="perhaps")


# ------------------------------------------------------------------------------------- rules


def wines(dtype=float, **parameters):
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X[["alcohol", "magnesium", "proline"]].astype(dtype)
    return CounterfactualExplainer(GaussianNB(), **parameters).fit(X, y), X, y


@pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
def test_rules_of_the_explainer_and_of_the_call_are_shown_and_kept():
    explainer, X, _ = wines(increasing=["alcohol"])
    some = X[explainer.estimator_.predict(X) == 1][:4]
    rules = Rules(immutable=["proline"], ranges={"magnesium": (None, 120)})
    free = WhatIf(explainer, some, 0)
    bound = WhatIf(explainer, some, 0, rules)
    shown = bound.setup()["rules"]
    assert {"alcohol may only increase", "proline must not change"} <= set(shown)
    assert "proline must not change" not in free.setup()["rules"]
    touched = [set(), set()]
    for k in range(4):
        for questions, names in zip((free, bound), touched, strict=True):
            proposal = questions.recourse(k, questions.person(k)["values"])
            names |= {change["name"] for change in proposal["changes"]}
            assert proposal["broken"] == []
        expected = explainer.explain(some.iloc[[k]], 0, rules=rules)
        assert proposal["sentence"] == expected.sentences()[0]
    assert "proline" in touched[0] and "proline" not in touched[1]


def test_serve_passes_the_rules_on():
    explainer, X, _ = wines()
    with serve(explainer, X[:2], target=0, rules=Rules(immutable=["proline"])) as server:
        _, _, setup = ask(server, "/api/setup")
        assert any("proline must not change" in rule for rule in setup["rules"])
    for rules in ({"immutable": ["proline"]}, Rules(immutable=["colour"]),
                  Rules(immutable={"proline": [True, False, True]})):  # fmt: skip
        with pytest.raises(ValueError, match=r"rules|Rules"):
            serve(explainer, X[:2], target=0, rules=rules)


def texts(questions, k, **moved):
    """Notes on a person with moved values, by the name of the feature."""
    names = [feature["name"] for feature in questions.setup()["features"]]
    values = questions.person(k)["values"]
    for name, value in moved.items():
        values[names.index(name)] = value
    found = {}
    for note in questions.answer(k, values)["notes"]:
        found.setdefault(names[note["feature"]], []).append(note["text"])
    return found


def test_a_value_outside_of_the_training_data_is_noted():
    explainer, X, _ = wines()
    questions = WhatIf(explainer, X[:2], 0)
    low, high = X["magnesium"].min(), X["magnesium"].max()
    assert (low, high) == (70, 162)
    for value in (70, 100, 162):
        assert texts(questions, 0, magnesium=value) == {}
    for value in (69, 163, 1e6, -5):
        noted = texts(questions, 0, magnesium=value)
        assert noted == {"magnesium": ["Outside of the training data, which go from 70 to 162."]}


def test_a_value_that_breaks_a_rule_is_noted_by_that_rule(desk):
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    some = desk.decided(desk.X_test, "refused")[:3]
    rules = Rules(
        relations=["savings <= 2 * income"],
        transitions={"purpose": {level: [] for level in some["purpose"].unique()}},
    )
    questions = WhatIf(explainer, some, "approved", rules)
    age, income = int(some["age"].iloc[1]), int(some["income"].iloc[1])
    assert texts(questions, 1) == {}
    assert texts(questions, 1, age=age + 1) == {}
    assert texts(questions, 1, age=age - 1)["age"] == ["Breaks a rule: age may only increase."]
    (noted,) = texts(questions, 1, savings=2 * income + 10_000)["savings"][-1:]
    assert "Breaks a rule" in noted
    both = texts(questions, 1, age=500)["age"]
    assert both[0].startswith("Outside of the training data") and "Breaks a rule: age" in both[1]
    levels = questions.setup()["features"][list(some.columns).index("purpose")]["levels"]
    now = levels.index(some["purpose"].iloc[1])
    other = texts(questions, 1, purpose=(now + 1) % len(levels))
    assert "purpose" in other and "Breaks a rule: purpose" in " ".join(other["purpose"])


def test_notes_agree_with_the_rules_for_every_single_move(desk):
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    some = desk.decided(desk.X_test, "refused")[:2]
    questions = WhatIf(explainer, some, "approved")
    rules, space = explainer._rules(), explainer.space_
    for j, feature in enumerate(questions.setup()["features"]):
        low, high = feature.get("low", 0), feature.get("high", len(feature.get("levels", "1")) - 1)
        for value in (low, high, (low + high) // 2):
            values = questions.person(0)["values"]
            values[j] = value
            after = questions._row(0, values)
            broken = rules.violations(space, some[:1], after)[0]
            noted = [n["feature"] for n in questions.answer(0, values)["notes"]
                     if n["text"].startswith("Breaks a rule: ")]  # fmt: skip
            assert sorted(set(noted)) == np.flatnonzero(broken).tolist()


def test_a_proposal_that_goes_too_far_from_the_row_as_it_is_says_so():
    explainer, X, _ = wines()
    some = X[explainer.estimator_.predict(X) == 1][:6]
    rules = Rules(ranges={name: Relative(-40, 40) for name in X})
    questions = WhatIf(explainer, some, 0, rules)
    told = 0
    for k in range(6):
        values = questions.person(k)["values"]
        values[2] += 300
        proposal = questions.recourse(k, values)
        if proposal["found"]:
            after = questions._row(k, proposal["values"])
            broken = rules.violations(explainer.space_, some.iloc[[k]], after).any()
            assert bool(proposal["broken"]) == broken
            told += broken
    assert told


def test_a_missing_value_that_is_filled_in_is_noted():
    explainer, X, _ = wines()
    holes = X[:1].astype(float).copy()
    holes.iloc[0, 1] = np.nan
    questions = WhatIf(explainer, holes, 0)
    assert texts(questions, 0, magnesium=100.0) == {
        "magnesium": ["Breaks a rule: a missing value stays missing."]
    }


# ---------------------------------------------------------------------------- unusual requests

UNUSUAL = ["1e308", "-1e308", "1e999", "-1e999", "1" + "0" * 400, "1e300", "-1e300", "1e19",
           "-1", "70000", "1e-320", "0.5", "true", "null", '"1"', "[]"]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "uint8",
                                   "Int64", "UInt16"])  # fmt: skip
def test_unusual_numbers_are_answered_or_refused(dtype):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(1, 120, size=(150, 3)), columns=list("abc"))
    y = (X.sum(axis=1) > 180).astype(int)
    X = X.astype(dtype)
    explainer = CounterfactualExplainer(LogisticRegression(max_iter=2000)).fit(X, y)
    with serve(explainer, X[:2], target=1) as server:
        for number in UNUSUAL:
            for path in ("/api/answer", "/api/recourse"):
                raw = f'{{"person": 0, "values": [{number}, 5, 6]}}'
                status, _, answer = ask(server, path, raw=raw)
                assert status in (200, 400), (number, answer)
                if status == 400:
                    assert answer["error"]
                elif path == "/api/answer":
                    # What is answered is what was asked, on the lattice of the column.
                    assert abs(answer["values"][0] - float(number)) <= 0.5 + 0.01 * abs(
                        float(number)
                    )
        assert ask(server, "/api/setup")[0] == 200


@pytest.mark.parametrize("number", UNUSUAL)
def test_unusual_numbers_for_levels_and_people_are_refused(server, number):
    levels = [*good(server)]
    levels[1] = "?"
    raw = json.dumps({"person": 0, "values": levels}).replace('"?"', number)
    assert ask(server, "/api/answer", raw=raw)[0] == 400
    raw = f'{{"person": {number}, "values": []}}'
    assert ask(server, "/api/answer", raw=raw)[0] == 400


def test_a_model_that_refuses_values_is_a_bad_request_with_its_reason():
    X, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(5, random_state=0)
    with serve(CounterfactualExplainer(forest).fit(X, y), X[:2], target=1) as server:
        values = [1e200, 1.0, 1.0, 1.0]
        status, _, answer = ask(server, "/api/answer", {"person": 0, "values": values})
        assert status == 400 and "cannot take these values" in answer["error"]
        values[0] = 5.0
        assert ask(server, "/api/answer", {"person": 0, "values": values})[0] == 200


# ------------------------------------------------------------------------ many at the same time


@pytest.mark.parametrize("number", [60, 250])
def test_connections_that_arrive_at_once_all_have_an_answer(explainer, refused, number):
    with serve(explainer, refused, target="approved") as server:
        sockets = [socket.create_connection(("127.0.0.1", server.port), 60) for _ in range(number)]
        request = f"GET /api/setup HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            with one:
                assert one.recv(12) == b"HTTP/1.1 200"


def test_the_backlog_holds_hundreds(server):
    assert server._server.request_queue_size >= 500


@pytest.mark.parametrize("size", [100_000, (1 << 20) + 1, 5 << 20])
def test_a_refused_body_is_read_so_that_the_refusal_arrives(server, size):
    for path, headers, expected in (
        ("/api/person", {}, 413 if size > 1 << 20 else 400),
        ("/api/person", {"Host": "elsewhere"}, 403),
        ("/api/person", {"Content_Type": "text/plain"}, 415),
    ):
        status, _, answer = ask(server, path, raw=b"x" * size, **headers)
        assert status == expected and answer["error"]
