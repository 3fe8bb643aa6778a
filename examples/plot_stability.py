"""
How stable are counterfactuals?
===============================

Two people who differ a little should get similar answers. Rows are disturbed by growing noise and
explained again, with and without plausibility.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.robustness import consistency_under_retraining, stability_curve

X, y = load_wine(return_X_y=True, as_frame=True)
y = (y == 1).astype(int)
model = make_pipeline(StandardScaler(), MLPClassifier((20,), max_iter=2000, random_state=0))
model.fit(X, y)
rows = X[::5]
radii = [0.1, 0.4, 0.8, 1.6, 3.2]

# %%
# The distance between counterfactuals, by the distance between rows.

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, parameters in {
    "KDE": {"density": "kde", "tau": 20.0},
    "neighbours": {"density": "knn", "tau": 20.0},
    "no plausibility": {"density": "knn", "tau": 0.0},
}.items():
    explainer = CounterfactualExplainer(FrozenEstimator(model), beta=0.0, **parameters)
    explainer.fit(X, y)
    curve = stability_curve(explainer, rows, radii=radii, n_samples=1, random_state=0)
    means = curve.groupby("radius")[["input", "answer"]].mean()
    ax.plot(
        means["input"], means["answer"], "--" if name == "no plausibility" else "-o", label=name
    )
    moved = consistency_under_retraining(explainer, rows[:10], X, y, n_models=2, random_state=0)
    print(f"{name}: {moved.mean():.2f} between counterfactuals of networks trained again")
ax.set_xlabel("distance between rows")
ax.set_ylabel("distance between counterfactuals")
ax.legend()
