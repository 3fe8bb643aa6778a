"""
What refused applicants change
==============================

The picture of the README: where the answers lie among the people who are approved, and which
features they change.

Run with ``--save FILE`` to keep the picture.
"""

import argparse
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from scipy.stats import gaussian_kde

from scfe_sklearn.demo import open_loan_desk

parser = argparse.ArgumentParser(description="Answers among the approved, and what they change.")
parser.add_argument("--save", metavar="FILE", help="where to write the picture")
options = parser.parse_args()

INK, GREY = "#22303c", "#6b7b8a"
UP, DOWN, SWITCH = "#20639b", "#e07b39", "#8a9a5b"
ACROSS, ALONG = "credit_score", "debt_ratio"

# %%
# The model and the rules of ``python -m scfe_sklearn``. Rows without an answer warn; they are
# counted under the picture.

desk = open_loan_desk(4000, random_state=0)
refused = desk.decided(desk.X_test, "refused")
explainer = desk.explainer().fit(desk.X_train, desk.y_train)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    result = explainer.explain(refused, target="approved")

found = result[result.success]
changes = found.changes
before = found.factual.reset_index(drop=True)
after = found.counterfactuals.reset_index(drop=True)

# %%
# Left: applicants whose answer lies in this plane, that is, changes nothing else. The shade is the
# density of the people whom the model approves.


def shade(axes, people):
    """Shade the density of people in the plane of two numbers."""
    points = people[[ACROSS, ALONG]].to_numpy(dtype=float).T
    kernel = gaussian_kde(points)
    x, y = np.meshgrid(np.linspace(440, 820, 90), np.linspace(0, 0.85, 90))
    density = kernel(np.stack([x.ravel(), y.ravel()])).reshape(x.shape)
    # Contours that hold 90, 70, 50, 30 and 10 % of the people.
    levels = np.quantile(kernel(points), [0.1, 0.3, 0.5, 0.7, 0.9])
    colours = LinearSegmentedColormap.from_list("approved", ["#eef4f1", "#a9d0bd"])
    axes.contourf(x, y, density, levels=[*levels, density.max()], cmap=colours, zorder=0)


def arrows(axes, rows, **style):
    """Draw what happens to some rows in the plane."""
    for row in rows:
        start = before.loc[row, [ACROSS, ALONG]].astype(float)
        end = after.loc[row, [ACROSS, ALONG]].astype(float)
        axes.annotate(
            "", end, start, arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **style}
        )


def plane(axes):
    """The left panel: a sample of answers, and one of them in words."""
    shade(axes, desk.decided(desk.X_train, "approved"))
    names = changes.groupby(level=0)["feature"].agg(set)
    inside = names.index[[pair <= {ACROSS, ALONG} for pair in names]]
    both = names.index[[pair == {ACROSS, ALONG} for pair in names]]
    arrows(axes, inside[:45], color=GREY, alpha=0.45, linewidth=0.9, mutation_scale=8)
    axes.scatter(before.loc[inside[:45], ACROSS], before.loc[inside[:45], ALONG], s=9, color=GREY)
    one = both[0]
    arrows(axes, [one], color=DOWN, linewidth=2.2, mutation_scale=16)
    x, y = before.loc[one, [ACROSS, ALONG]].astype(float)
    axes.scatter([x], [y], s=42, color=DOWN, zorder=5)
    text = found[[int(one)]].sentences()[0].replace(" and ", "\nand ")
    box = {"transform": axes.transAxes, "fontsize": 9}
    axes.text(0.03, 0.98, text, va="top", color="#b85a1d", **box)
    axes.text(0.99, 0.03, "shade: approved applicants", ha="right", color="#4f8a6c", **box)
    axes.set(xlim=(440, 820), ylim=(0, 0.85), xlabel="credit score", ylabel="debt ratio")
    axes.set_title("Refused applicants move in among approved ones", loc="left")


# %%
# Right: how often a feature changes, and which way.


def frequencies(axes):
    """The right panel: bars of raised, lowered and switched features."""
    move = pd.Series("switched", index=range(len(changes)))
    kinds = dict(zip(found.feature_names, found.kinds, strict=True))
    for k, (name, old, new) in enumerate(
        zip(changes["feature"], changes["from"], changes["to"], strict=True)
    ):
        if kinds[name] == "ordinal":
            levels = list(refused[name].cat.categories)
            old, new = levels.index(old), levels.index(new)
        if kinds[name] != "categorical":
            move[k] = "raised" if new > old else "lowered"
    table = pd.crosstab(changes["feature"].to_numpy(), move.to_numpy()) / len(found) * 100
    table = table.loc[table.sum(axis=1).sort_values().index]
    left = np.zeros(len(table))
    for name, colour in (("raised", UP), ("lowered", DOWN), ("switched", SWITCH)):
        if name in table:
            axes.barh(table.index, table[name], left=left, color=colour, height=0.68, label=name)
            left += table[name].to_numpy()
    for k, share in enumerate(left):
        text = f"{share:.0f} %" if share >= 1 else "< 1 %"
        axes.text(share + 1, k, text, va="center", color=GREY, fontsize=8.5)
    labels = [name.replace("_", " ") for name in table.index]
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(0, left.max() * 1.14), xlabel=f"% of the {len(found)} answers")
    axes.legend(frameon=False, loc="lower right")
    axes.set_title("What the answers change", loc="left")


STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": INK,
}
with plt.rc_context(STYLE):
    figure, (first, second) = plt.subplots(
        1, 2, figsize=(10, 4.1), width_ratios=(1.15, 1), layout="constrained"
    )
    plane(first)
    frequencies(second)

print(f"{len(found)} of {len(result)} refused applicants have an answer")
print(changes["feature"].value_counts().to_string())

if options.save:
    figure.savefig(options.save, dpi=110)
elif matplotlib.get_backend().lower() != "agg":
    plt.show()
