"""Rules as they are stated, about raw values: read, put into words and judged."""

from scfe_sklearn.features.stated.implications import Atom, margin_tolerance
from scfe_sklearn.features.stated.joint_violations import Opened, bits_of, breaks_already
from scfe_sklearn.features.stated.outside import find_outside
from scfe_sklearn.features.stated.parsed import Limits, Moves, ParsedRules
from scfe_sklearn.features.stated.parsing import parse_rules
from scfe_sklearn.features.stated.raw_values import level_numbers, own_levels, raw_numbers
from scfe_sklearn.features.stated.relations import Linear, Relation
from scfe_sklearn.features.stated.relative import Relative
from scfe_sklearn.features.stated.violations import find_violations
from scfe_sklearn.features.stated.wording import describe_rules

__all__ = [
    "Atom",
    "Limits",
    "Linear",
    "Moves",
    "Opened",
    "ParsedRules",
    "Relation",
    "Relative",
    "bits_of",
    "breaks_already",
    "describe_rules",
    "find_outside",
    "find_violations",
    "level_numbers",
    "margin_tolerance",
    "own_levels",
    "parse_rules",
    "raw_numbers",
]
