"""Movement of counterfactuals under noise of the row, and under training the model again.

Figure 6 of the talk: the test rows of Housing and Wine are disturbed by noise, explained again, and
the distance between counterfactuals is set against the distance between rows, with and without
plausibility. The noise is uniform on a sphere in training standard deviations (the talk does not
state its own). The target of a row is the opposite of its true label, with two changes or with any
number of them. "trained again" is the mean distance between counterfactuals of the network and of
networks trained on bootstrap samples. ``--save FILE`` draws the curves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier

from benchmarks.datasets import Table, add_data_option, published_table
from benchmarks.reporting import Bars, add_check_option, numbers, print_table, words
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.robustness import consistency_under_retraining, stability_curve

RADII = [0.1, 0.4, 0.8, 1.6, 3.2]
TAU = 20.0
DENSITIES = ("kde", "gmm", "knn", "lof")


def settings(densities: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return number of changes, density (or "none") and parameters of each curve."""
    out: list[tuple[str, str, dict[str, Any]]] = []
    for word, budget in (("two", 2), ("any", None)):
        shared: dict[str, Any] = {"beta": 0.0, "max_changes": budget}
        out += [(word, name, {**shared, "density": name, "tau": TAU}) for name in densities]
        out.append(
            (word, "none", {**shared, "density": "knn", "tau": 0.0, "min_plausibility": 0.0})
        )
    return out


def network(table: Table, seed: int) -> MLPClassifier:
    """Train the published network: two hidden layers of 20."""
    model = MLPClassifier((20, 20), alpha=0.01, max_iter=600, random_state=seed)
    return model.fit(table.X, table.y)


def curves(
    table: Table, densities: Sequence[str], radii: Sequence[float], seed: int, n_rows: int
) -> pd.DataFrame:
    """Return the mean distance between counterfactuals of each setting and radius."""
    model, rows = network(table, seed), []
    queries, targets = table.queries[:n_rows], table.targets[:n_rows]
    for changes, density, parameters in settings(densities):
        explainer = CounterfactualExplainer(FrozenEstimator(model), **parameters)
        explainer.fit(table.X, table.y)
        curve = stability_curve(
            explainer, queries, targets, radii=radii, n_samples=2, random_state=seed
        )
        means = curve.groupby("radius")["answer"].mean()
        again = consistency_under_retraining(
            explainer, queries, table.X, table.y, targets, n_models=3, random_state=seed
        )
        rows.append(
            {
                "changes": changes,
                "density": density,
                **means.to_dict(),
                "trained again": np.nanmean(again),
            }
        )
    return pd.DataFrame(rows)


def draw(results: dict[str, pd.DataFrame], radii: Sequence[float], path: str) -> None:
    """Draw one panel per data set and number of changes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(results), 2, figsize=(8, 3.2 * len(results)), layout="constrained", squeeze=False
    )
    for row, (name, table) in zip(axes, results.items(), strict=True):
        for ax, changes in zip(row, ("two", "any"), strict=True):
            for _, line in table[table["changes"] == changes].iterrows():
                style = "k--" if line["density"] == "none" else "-"
                ax.plot(radii, [line[radius] for radius in radii], style, label=line["density"])
            ax.set_title(f"{name}, {changes} changes", loc="left", fontsize=10)
            ax.set_xlabel("distance between rows")
            ax.set_ylabel("between counterfactuals")
    axes[0, 0].legend(title="density")
    figure.savefig(path)


def _judge(name: str, table: pd.DataFrame, radii: Sequence[float], bars: Bars) -> None:
    """Print from which noise on a density is more stable than none; the bar is at the largest."""
    for changes in ("two", "any"):
        part = table[table["changes"] == changes].set_index("density")[radii]
        for density in part.index.drop("none"):
            steadier = (part.loc[density] < part.loc["none"]).to_numpy()
            print(
                f"{changes} changes, {density}: more stable than none at distances "
                f"{[radius for radius, more in zip(radii, steadier, strict=True) if more]}"
            )
        largest, last = part.drop("none")[radii[-1]].max(), part.loc["none", radii[-1]]
        bars.add(
            f"{name}, {changes} changes, rows {radii[-1]} apart: counterfactuals of every density "
            f"at most {largest:.2f} apart, less than without, {last:.2f}",
            largest < last,
        )
    print()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=words, default=["housing", "wine"])
    parser.add_argument("--densities", type=words, default=list(DENSITIES))
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--radii", type=numbers, default=RADII)
    parser.add_argument("--rows", type=int, default=100, help="test rows, at most 100")
    parser.add_argument("--save", metavar="FILE", help="where to draw the curves")
    add_data_option(parser)
    add_check_option(parser)
    options = parser.parse_args(arguments)
    bars, results = Bars(), {}
    for name in options.sets:
        parts = [
            curves(
                published_table(name, options.data, int(seed)),
                options.densities,
                options.radii,
                int(seed),
                options.rows,
            )
            for seed in options.seeds
        ]
        whole = pd.concat(parts).groupby(["changes", "density"], sort=False)
        table = results[name] = whole.mean().reset_index()
        print(f"{name}: mean distance between counterfactuals, by distance between rows")
        columns = [*options.radii, "trained again"]
        print_table(
            ["changes", "density", *map(str, columns)],
            [[line["changes"], line["density"], *(float(line[c]) for c in columns)]
             for _, line in table.iterrows()],
        )  # fmt: skip
        _judge(name, table, options.radii, bars)
    if options.save:
        draw(results, options.radii, options.save)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
