"""Pictures of explanations: displays that follow scikit-learn's convention, and the HTML report."""

from scfe_sklearn.inspection.change_display import ChangeDisplay
from scfe_sklearn.inspection.frequency_display import FrequencyDisplay
from scfe_sklearn.inspection.group_cost_display import GroupCostDisplay
from scfe_sklearn.inspection.map_display import MapDisplay
from scfe_sklearn.inspection.options_display import OptionsDisplay
from scfe_sklearn.inspection.pareto_display import ParetoDisplay

__all__ = [
    "ChangeDisplay",
    "FrequencyDisplay",
    "GroupCostDisplay",
    "MapDisplay",
    "OptionsDisplay",
    "ParetoDisplay",
]
