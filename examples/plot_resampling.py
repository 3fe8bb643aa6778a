"""
Unlearn a shortcut
==================

A column that goes with the label in training is a shortcut. Models that are trained on plausible
counterfactuals as well lean on it less: their worst group is more accurate.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.learning import CounterfactualResampler, group_report

# %%
# Loan applications whose channel goes with the label in 95 % of the training rows, and by chance in
# the others.

random = np.random.default_rng(0)
X, label = make_loan_applications(1200, random_state=0)
y = (label == "approved").astype(int)
channel = np.where(random.random(1200) < 0.95, y, 1 - y)
channel[600:] = random.integers(2, size=600)
X = X.assign(channel=np.where(channel == 1, "online", "branch"))
train, test, y_train, y_test = X[:600], X[600:], y[:600], y[600:]


def fitted(rows, labels):
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    network = MLPClassifier((32,), alpha=0.1, max_iter=1000, random_state=0)
    return make_pipeline(columns, network).fit(rows, labels)


# %%
# A standard model, and models of training rows with perturbed ones.

standard = fitted(train, y_train)
explainer = CounterfactualExplainer(FrozenEstimator(standard))
models = {"standard": standard}
for kind in ("pgd-l2", "cfe-l2", "p-cfe"):
    resampler = CounterfactualResampler(explainer, perturbation=kind, random_state=0)
    models[kind] = fitted(*resampler.fit_resample(train, y_train))

# %%
# Accuracy of every group on rows whose channel is uninformative.

reports = {
    name: group_report(y_test, model.predict(test), groups=test["channel"])
    for name, model in models.items()
}
for name, report in reports.items():
    print(f"{name}: worst group {report['accuracy'].min():.2f}")

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for place, report in enumerate(reports.values()):
    ordered = report.sort_values(["label", "group"])
    bars = ax.bar(place + 0.2 * np.arange(4) - 0.3, ordered["accuracy"], 0.18)
    for bar, colour in zip(bars, ["#20639b", "#9cc3e0", "#e8b48c", "#d9702b"], strict=True):
        bar.set_color(colour)
ax.set_xticks(range(len(reports)), list(reports))
ax.set_ylabel("accuracy")
names = [f"{'approved' if row.label else 'refused'}, {row.group}" for row in ordered.itertuples()]
ax.legend(bars, names, fontsize=8, loc="lower left")
