"""
What would it take, and for whom?
=================================

One explanation is about one person. Many of them are about the model: which features decide, which
way, and whether the way back is as short for everybody.

Run with ``--save FILE`` to keep the picture, and with ``--html FILE`` for a page about everybody.
"""

import argparse
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from scfe_sklearn.demo import open_loan_desk
from scfe_sklearn.inspection import ChangeDisplay, FrequencyDisplay, GroupCostDisplay, MapDisplay

parser = argparse.ArgumentParser(description="What answers change, and what they cost whom.")
parser.add_argument("--save", metavar="FILE", help="where to write the picture")
parser.add_argument("--html", metavar="FILE", help="where to write the page")
options = parser.parse_args()

# %%
# The model, its rules and the refused applicants of ``python -m scfe_sklearn``.

desk = open_loan_desk(4000, random_state=0)
refused = desk.decided(desk.X_test, "refused")
explainer = desk.explainer().fit(desk.X_train, desk.y_train)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # rows without an answer are in the last panel
    result = explainer.explain(refused, target="approved")

# %%
# Four pictures. A display draws into the axes that it is given, or into a figure of its own.

figure, axes = plt.subplots(2, 2, figsize=(13, 8.4), layout="constrained")

two = result.n_changes == 2
ChangeDisplay.from_explanation(result[two], row=0, ax=axes[0, 0])
FrequencyDisplay.from_explanation(result, ax=axes[0, 1])
plane = ["credit_score", "debt_ratio"]
one = int(np.flatnonzero(two)[0])  # the person of the first picture
MapDisplay.from_explanation(result, explainer, features=plane, row=one, ax=axes[1, 0])
costs = GroupCostDisplay.from_explanation(result, "education", ax=axes[1, 1]).costs

# %%
# The last one as numbers: on average, those who left school early have the longest way. The limits
# of the cost are those of a bootstrap over the people of a group.

print(costs.to_string(index=False, float_format="{:.2f}".format))

# %%
# And everything as one page: open it in a browser, send it, print it.

if options.html:
    result.to_html(options.html)
if options.save:
    figure.savefig(options.save, dpi=110)
elif matplotlib.get_backend().lower() != "agg":
    plt.show()
