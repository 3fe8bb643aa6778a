"""
First steps
===========

A pipeline on mixed data refuses some loan applicants. What would each of them have to change?
The applications are generated; nothing is downloaded.
"""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, Relative, Rules
from scfe_sklearn.datasets import make_loan_applications

# %%
# A model like many: numbers are scaled, categories become indicators, a small network decides.

X, y = make_loan_applications(3000, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
columns = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
)
network = MLPClassifier((32,), alpha=1, learning_rate_init=0.005, random_state=0)
model = make_pipeline(columns, network).fit(X_train, y_train)
refused = X_test[model.predict(X_test) == "refused"]
print(f"{model.score(X_test, y_test):.1%} of the test part right, {len(refused)} refused\n")

# %%
# The explainer takes the model as it is, and the rules that every answer has to keep: what never
# changes, what grows only, by how much, and which category may become which.

explainer = CounterfactualExplainer(
    FrozenEstimator(model),
    immutable=["sex", "purpose"],
    increasing=["age", "education", "employment_years"],
    decreasing=["late_payments", "loan_amount"],
    ranges={
        "age": Relative(high=2),
        "credit_score": Relative(-80, 80),
        "income": Relative(1, 1.25, factor=True),
        "debt_ratio": (0.05, 0.6),
    },
    transitions={"housing": {"rent": ["mortgage"], "mortgage": ["own"], "own": []}},
    steps={"income": 100, "savings": 100, "loan_amount": 500, "loan_term": 12},
).fit(X_train, y_train)

result = explainer.explain(refused, target="approved")
print(*result.rules_text, sep="\n")

# %%
# In words, and as a table of what changes.

print()
for label, sentence in zip(result.index[:6], result[:6].sentences(), strict=True):
    print(f"{label}: {sentence}")
print()
print(result[:6].changes.to_string(index=False))

# %%
# The counterfactuals have the columns, dtypes, index and units of the question, so the model
# takes them. Rows without an answer hold missing values and say why in `status`.

found = result[result.success]
answers = found.counterfactuals.astype(X.dtypes.to_dict())
print()
print(f"approved by the model: {(model.predict(answers) == 'approved').mean():.0%}")
print(result.summary().T.to_string(header=False, float_format="{:.3f}".format))

# %%
# Rules may differ from row to row: say that the bank already knows that the credit score of the
# first three will stay as it is.

fixed = Rules(immutable={"credit_score": [True, True, True, False, False, False]})
moved = explainer.explain(refused[:6], target="approved", rules=fixed)
print()
print(moved)
print()
print(moved.changes)
