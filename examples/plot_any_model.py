"""
Any model, and how good the search is
=====================================

Boosting has no gradient. The explainer then needs its predictions only, for all rows together;
`result.solver` is "search". For trees of moderate size the answer can also be proved to be the
cheapest.
"""

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.datasets import make_loan_applications

X, y = make_loan_applications(2000, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)


def pipeline(classifier):
    """Indicators for categories, numbers as they are."""
    columns = make_column_transformer(
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")), remainder="passthrough"
    )
    return make_pipeline(columns, classifier).fit(X_train, y_train)


rules = {"immutable": ["sex", "purpose", "age"], "increasing": ["education", "employment_years"]}

# %%
# Boosting, by its predictions alone.

model = pipeline(HistGradientBoostingClassifier(random_state=0))
refused = X_test[model.predict(X_test) == "refused"]
explainer = CounterfactualExplainer(FrozenEstimator(model), **rules).fit(X_train, y_train)
result = explainer.explain(refused, target="approved")
print(f"solver: {result.solver}")
print(result)

# %%
# A function with nothing but predictions will do as well.

explainer = CounterfactualExplainer(lambda rows: model.predict(rows), **rules)
result = explainer.fit(X_train, y_train).explain(refused[:5], target="approved")
print(*result.sentences(), sep="\n")

# %%
# Of a small forest the cheapest answers are known for sure: ``gap`` is 0 where it is proved.

forest = pipeline(RandomForestClassifier(30, max_depth=5, random_state=0))
refused = X_test[forest.predict(X_test) == "refused"][:20]
options = {"tau": 0.0, "beta": 1.0, **rules}
found = CounterfactualExplainer(FrozenEstimator(forest), **options).fit(X_train, y_train)
exact = CounterfactualExplainer(FrozenEstimator(forest), solver="milp", **options)
exact.fit(X_train, y_train)
quick, sure = (one.explain(refused, target="approved") for one in (found, exact))
cost = pd.DataFrame(
    {
        "search": quick.distance**2 + quick.n_changes,
        "proved cheapest": sure.distance**2 + sure.n_changes,
        "gap": sure.gap,
    },
    index=refused.index,
)
print(cost.round(3).head(8))
print(f"search within 5 % of the optimum: {(cost.iloc[:, 0] <= 1.05 * cost.iloc[:, 1]).mean():.0%}")
