"""Pictures of explanations: displays that follow scikit-learn's convention, and the HTML report."""

from scfe_sklearn.inspection.changes import ChangeDisplay, FrequencyDisplay
from scfe_sklearn.inspection.groups import GroupCostDisplay
from scfe_sklearn.inspection.map import MapDisplay
from scfe_sklearn.inspection.options import OptionsDisplay, ParetoDisplay

__all__ = [
    "ChangeDisplay",
    "FrequencyDisplay",
    "GroupCostDisplay",
    "MapDisplay",
    "OptionsDisplay",
    "ParetoDisplay",
]
