"""
Reading a failure
=================

Strict rules leave some people without an answer. Every row has a reason; which rule is in the way
shows when the rules are lifted one by one.
"""

import warnings

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, Relative, Status
from scfe_sklearn.datasets import make_loan_applications

X, y = make_loan_applications(600, random_state=0)
columns = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
)
warnings.simplefilter("ignore", UserWarning)  # this page is about rows without an answer

# %%
# A bank that allows hardly anything: one change, and only so much of it.

RULES = {
    "max_changes": 1,
    "immutable": ["sex", "age", "purpose", "loan_amount"],
    "ranges": {"income": Relative(0, 8_000), "credit_score": Relative(0, 60)},
    "increasing": ["savings", "late_payments"],
}
explainer = CounterfactualExplainer(make_pipeline(columns, LogisticRegression()), **RULES).fit(X, y)
refused = X[explainer.estimator_.predict(X) == "refused"][:150]
result = explainer.explain(refused, target="approved")
print(result)
print(result.to_frame()[["status", "reason"]].value_counts())

# %%
# Where does the search come closest? The answer is marked as not valid.

closest = explainer.explain(refused, target="approved", best_effort=True)
near = closest[closest.status == Status.CLOSEST]
print(f"{len(near)} rows, at best {near.probability_after.max():.0%} sure of a yes")

# %%
# One rule less at a time.

found = {"all rules": result.success.mean()}
for name in RULES:
    looser = CounterfactualExplainer(
        explainer.estimator, **{key: value for key, value in RULES.items() if key != name}
    ).fit(X, y)
    found[f"without {name}"] = looser.explain(refused, target="approved").success.mean()
share = pd.Series(found)
print(share.round(2))

figure, axes = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
bars = axes.barh(share.index, share, color=["0.6"] + ["#2b7350"] * len(RULES))
axes.bar_label(bars, [f"{value:.0%}" for value in share], padding=3)
axes.invert_yaxis()
axes.set(xlim=(0, 1.1), xticks=[], title="Refused applicants with an answer")
axes.spines[["top", "right", "bottom"]].set_visible(False)
plt.show()
