"""
Values instead of classes
=========================

What would have to change for a lower value? A regressor has no classes: the target is an
interval of its value, for all rows or for each of them.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split

from scfe_sklearn import CounterfactualExplainer, Interval

# %%
# The progression of diabetes after a year; age and sex are given.

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
explainer = CounterfactualExplainer(
    RandomForestRegressor(100, random_state=0), immutable=["age", "sex"]
).fit(X_train, y_train)

# %%
# At most 120 for everybody.

high = X_test[explainer.estimator_.predict(X_test) > 150]
result = explainer.explain(high, target=Interval(at_most=120))
print(result)

# %%
# Twenty to forty below what is predicted now, for each.

now = explainer.estimator_.predict(high)
result = explainer.explain(high, target=Interval(at_least=now - 40, at_most=now - 20))
print(f"{result.success.mean():.0%} of {len(high)} rows have an answer")
after = result.prediction_after.astype(float)

figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
axes.fill_between([150, 300], [110, 260], [130, 280], color="0.9", label="target")
axes.scatter(now, after, s=14, label="answers")
axes.plot([150, 300], [150, 300], color="0.5", lw=1, label="no change")
axes.set(xlabel="predicted now", ylabel="predicted for the answer")
axes.legend()
plt.show()
