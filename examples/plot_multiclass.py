"""
From each class to each other one
=================================

With several classes the question has a direction. Which changes lead from every cultivar of wine
to every other one, how far is it, and where does a row end that may choose?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Probability

# %%
# The classes have names, and so do the targets.

data = load_wine(as_frame=True)
X = data.data.drop(columns="od280/od315_of_diluted_wines")
y = np.array(["Barolo", "Grignolino", "Barbera"])[data.target]
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
explainer = CounterfactualExplainer(model, max_changes=3).fit(X, y)
rows = X.sample(45, random_state=0)

# %%
# Without a target, an answer goes to the nearest other class. A set names the classes that will
# do, a `Probability` demands a sure one, and an array holds a target for each row.

print(explainer.explain(rows[:3]).to_frame()[["prediction", "n_changes", "distance"]])
print(explainer.explain(rows[:3], target={"Barbera", "Grignolino"}))
print(explainer.explain(rows[:3], target=Probability("Grignolino", at_least=0.9)))
print(explainer.explain(rows[:3], target=np.array(["Barbera", "Barbera", "Grignolino"])))

# %%
# Every row to every other class in turn: the mean distance, and what is changed most often.

classes = list(explainer.classes_)
answers = {wanted: explainer.explain(rows, target=wanted) for wanted in classes}
distance = pd.DataFrame(np.nan, index=classes, columns=classes)
feature = pd.DataFrame("", index=classes, columns=classes)
for wanted, result in answers.items():
    for start in classes:
        ways = result[(result.prediction == start) & result.success & (result.n_changes > 0)]
        if len(ways):
            distance.loc[start, wanted] = ways.distance.mean()
            feature.loc[start, wanted] = ways.changes["feature"].mode()[0]
print(feature)

figure, axes = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
axes.imshow(distance, cmap="Blues", vmin=np.nanmin(distance) - 0.5)
for i, start in enumerate(classes):
    for j, wanted in enumerate(classes):
        if start != wanted:
            dark = distance.iloc[i, j] > np.nanmean(distance)
            words = f"{distance.iloc[i, j]:.1f}\n{feature.iloc[i, j].replace('_', ' ')}"
            axes.text(j, i, words, ha="center", va="center", color="w" if dark else "k")
axes.set_xticks(range(3), classes)
axes.set_yticks(range(3), classes)
axes.set(xlabel="to", ylabel="from", title="Mean distance, and the feature changed most often")
axes.spines[:].set_visible(False)
plt.show()
