"""
How plausible, how far?
=======================

`tau` is the price of being unusual. A grid of it shows the trade-off: answers among more ordinary
people are further away. The scores come from `scfe_sklearn.metrics`, not from the solver.

Run with ``--save FILE`` to keep the picture.
"""

import argparse

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, metrics
from scfe_sklearn.datasets import make_loan_applications

parser = argparse.ArgumentParser(description="Trade-off between plausibility and distance.")
parser.add_argument("--save", metavar="FILE", help="where to write the picture")
options = parser.parse_args()

# %%
# A model, and the people it refuses.

X, y = make_loan_applications(2400, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
columns = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
)
network = MLPClassifier((32,), alpha=1, learning_rate_init=0.005, random_state=0)
model = make_pipeline(columns, network).fit(X_train, y_train)
refused = X_test[model.predict(X_test) == "refused"][:120]

explainer = CounterfactualExplainer(
    FrozenEstimator(model),
    immutable=["sex", "purpose"],
    increasing=["age", "education", "employment_years"],
    decreasing=["late_payments"],
    steps={"income": 100, "savings": 100, "loan_amount": 500, "loan_term": 12},
)

# %%
# One explainer for each tau; everything else stays.

taus = [0, 1, 2, 5, 10, 20, 50]
curve = []
print("  tau  changes  distance  outlier factor")
for tau in taus:
    explainer.set_params(tau=tau).fit(X_train, y_train)
    result = explainer.explain(refused, target="approved")
    answers = result[result.success].counterfactuals.astype(X.dtypes.to_dict())
    space = explainer.space_
    change = space.encode(answers) - space.encode(refused[result.success])
    approved = space.encode(X_train[model.predict(X_train) == "approved"])
    outlying = metrics.local_outlier_factor(space.encode(answers), approved)
    curve.append((np.mean(metrics.l2(change)), np.mean(outlying)))
    changes = np.mean(metrics.l0(change, space.groups_))
    print(f"{tau:5g}  {changes:7.2f}  {curve[-1][0]:8.2f}  {curve[-1][1]:14.3f}")

# %%
# `score` is the geometric mean of plausibility, closeness and few changes. It is low where one of
# them is, so the best tau lies inside the grid.

search = GridSearchCV(explainer, {"tau": [0, 2, 5, 50]}, cv=2).fit(X_train[:300], y_train[:300])
print(f"\nbest tau by GridSearchCV: {search.best_params_['tau']} (score {search.best_score_:.3f})")

# %%
# The curve: down is more ordinary, left is closer.

distance, outlying = np.transpose(curve)
with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    axes.plot(distance, outlying, color="#9fb4c7", linewidth=1.5, zorder=1)
    axes.scatter(distance, outlying, s=42, color="#20639b", zorder=2)
    for tau, x, value in zip(taus, distance, outlying, strict=True):
        axes.annotate(f"{tau:g}", (x, value), (5, 5), textcoords="offset points", color="#333333")
    axes.set_xlabel("mean distance to the applicant (standard deviations)")
    axes.set_ylabel("mean local outlier factor")
    axes.set_title("What tau buys: the numbers are tau", loc="left", fontsize=11)

if options.save:
    figure.savefig(options.save, dpi=150)
elif matplotlib.get_backend().lower() != "agg":
    plt.show()
