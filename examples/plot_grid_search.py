"""
Few changes, near or plausible: a grid search
=============================================

How many changes should an answer have, and how much may an ordinary answer cost? A grid search
measures both at once: `RecourseScorer` measures what matters to people, `SparsestValid` chooses the
candidate with the fewest changes that still answers nearly everybody, and the trade-off curve
shows what was given up for it.

Run with ``--save FILE`` to keep the picture.
"""

import argparse
from tempfile import TemporaryDirectory

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, RecourseScorer, SparsestValid
from scfe_sklearn.datasets import make_loan_applications

parser = argparse.ArgumentParser(description="Grid search over tau and max_changes.")
parser.add_argument("--save", metavar="FILE", help="where to write the picture")
options = parser.parse_args()

# %%
# The model is trained in every fold, and so is the density of the approved applicants. With a
# ``memory`` both are fitted once per fold, whatever the weights.

X, y = make_loan_applications(1200, random_state=0)
columns = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
)
metrics = ["validity", "few_changes", "near", "plausible", "recourse"]
with TemporaryDirectory() as folder:
    explainer = CounterfactualExplainer(
        make_pipeline(columns, LogisticRegression()),
        immutable=["sex", "purpose", "credit_score"],
        increasing=["age", "education", "employment_years"],
        decreasing=["late_payments"],
        memory=folder,
    )
    search = GridSearchCV(
        explainer,
        {"max_changes": [1, 2, 3], "tau": [0.5, 1, 2, 4, 8, 16]},
        scoring=RecourseScorer(metrics, target="approved", max_rows=80),
        refit=SparsestValid(validity=0.95),
        cv=StratifiedKFold(2),
    ).fit(X, y)

# %%
# Every metric is in [0, 1], more is better, and a person without an answer counts 0.

table = pd.DataFrame(search.cv_results_)
table = table[["param_max_changes", "param_tau", *(f"mean_test_{name}" for name in metrics)]]
table.columns = ["max_changes", "tau", *metrics]
print(table.round(3).to_string(index=False))
print(f"\nsparsest among the valid: {search.best_params_}")

# %%
# One curve per budget: to the right is nearer, up is more ordinary. The ring is the choice.

blues = {1: "#9fb4c7", 2: "#4f86b8", 3: "#173f5f"}
with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
    figure, axes = plt.subplots(figsize=(5.6, 4.0), layout="constrained")
    for budget, part in table.groupby("max_changes"):
        share = part["validity"].mean()
        label = f"at most {budget} change{'s' * (budget > 1)}: {share:.0%} answered"
        axes.plot(part["near"], part["plausible"], "o-", color=blues[budget], label=label)
    for tau, x, value in table.loc[table["max_changes"] == 3, ["tau", "near", "plausible"]].values:
        axes.annotate(f"{tau:g}", (x, value), (5, 5), textcoords="offset points", color="#333333")
    best = table.loc[search.best_index_]
    axes.scatter(best["near"], best["plausible"], s=170, facecolors="none", edgecolors="#c0392b")
    axes.set_xlabel("near: mean of 1 / (1 + distance)")
    axes.set_ylabel("plausible: share of approved people\nwho are no less outlying")
    axes.set_title("What tau and a change buy: the numbers are tau", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9)

if options.save:
    figure.savefig(options.save, dpi=150)
elif matplotlib.get_backend().lower() != "agg":
    plt.show()
