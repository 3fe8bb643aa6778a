"""
Rules between columns, and for every person
===========================================

What may change differs from person to person, and columns hang together: a ratio follows from
its parts, a budget covers several changes, a student cannot earn just anything.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator

from scfe_sklearn import CounterfactualExplainer, Linear, Probability, Rules

# %%
# Rents and incomes. The ratio of debt and income is a column of its own, and the employment was
# one-hot encoded before the model; some debts are not known.

random = np.random.default_rng(0)
n = 1500
income = random.lognormal(3.5, 0.5, n).round()
data = pd.DataFrame({"income": income, "rent": (income * random.uniform(0.1, 0.6, n)).round()})
data["debt"] = (income * random.uniform(0, 1.5, n)).round()
data["ratio"] = data.debt / data.income
status = random.choice(["student", "employed", "retired"], n, p=[0.2, 0.6, 0.2])
for name in ("student", "employed", "retired"):
    data[f"is_{name}"] = (status == name).astype(int)
worth = 0.03 * income - 2 * data.ratio - 1.5 * (data.rent / income) + (status == "employed")
label = np.where(worth + random.normal(0, 0.3, n) > 0.3, "yes", "no")
model = HistGradientBoostingClassifier(random_state=0).fit(data, label)

# %%
# Rules for everybody.

explainer = CounterfactualExplainer(
    FrozenEstimator(model),
    blocks={
        "status": {"student": "is_student", "employed": "is_employed", "retired": "is_retired"}
    },
    derived={"ratio": lambda rows: rows.debt / rows.income},
    relations=["rent <= 0.5 * income", Linear({"rent": 1, "debt": 0.5}, at_most=25, of="change")],
    implications=[({"status": "student"}, {"income": (None, 40)})],
    transitions={"status": {"retired": [], "student": ["employed"], "employed": ["student"]}},
    costs={"rent": 3},
).fit(data, label)
refused = data[model.predict(data) == "no"][:200]
result = explainer.explain(refused, target="yes")
print(*result.rules_text, sep="\n")
print(f"\n{result.success.mean():.0%} of {len(refused)} have an answer, for example")
print(*result[result.success][:5].sentences(), sep="\n")

# %%
# Rules for each of them: nobody can raise the income by more than 20 %, and some cannot move.

cannot_move = random.random(len(refused)) < 0.5
personal = Rules(
    ranges={"income": (None, (1.2 * refused.income).to_numpy())}, immutable={"rent": cannot_move}
)
result = explainer.explain(refused, target="yes", rules=personal, best_effort=True)
print(result.summary().T.squeeze().rename("with personal rules").to_string())
close = result[result.status == "closest, but not valid"]
print(*close[:3].sentences(), sep="\n")

# %%
# A confident answer: the model has to be 80 % sure.

result = explainer.explain(refused[:100], target=Probability("yes", at_least=0.8))
print(f"least probability of an answer: {np.nanmin(result.probability_after):.2f}")

# %%
# What is changed how often, and the medians before and after where it is a number.

changes = result.changes
numeric = changes.assign(
    **{end: pd.to_numeric(changes[end], errors="coerce") for end in ("from", "to")}
)
table = numeric.groupby("feature")[["from", "to"]].median()
table.insert(0, "people", changes["feature"].value_counts())
print(table.sort_values("people", ascending=False).to_string(na_rep="-"))
