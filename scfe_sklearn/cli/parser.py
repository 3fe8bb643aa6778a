"""The options of every command, their values, and their ``--help``."""

from __future__ import annotations

import argparse
import math
from typing import Any

from scfe_sklearn._utils import MAX_SIZE
from scfe_sklearn.cli.messages import EXIT_CODES
from scfe_sklearn.cli.rule_files import EXAMPLE
from scfe_sklearn.densities.class_conditional import DENSITIES
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.rules import FLAGS


class whole:
    """Whole numbers from a limit on.

    Examples
    --------
    >>> whole(1)("3")
    3
    """

    def __init__(self, least: int) -> None:
        self.least = least

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if value < self.least:
            raise argparse.ArgumentTypeError(
                f"must be an int in [{self.least}, inf). Got {text!r} instead."
            )
        return value


def weight(text: str) -> float:
    """A finite number that is not negative."""
    value = _float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a float in [0, inf). Got {text!r} instead.")
    return value


def seconds(text: str) -> float:
    """A time."""
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a float in (0, inf). Got {text!r} instead.")
    return value


def number(text: str) -> float:
    """A finite number."""
    value = _float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number. Got {text!r} instead.")
    return value


def budget(text: str) -> int | str:
    """A number of changes, or the word for as few as possible."""
    if text == "fewest":
        return text
    try:
        return whole(1)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"must be an int in [1, inf) or 'fewest'. Got {text!r} instead."
        ) from None


def mebibytes(text: str) -> int:
    """A size in MiB, as bytes."""
    return whole(1)(text) << 20


def port(text: str) -> int:
    """A port of this machine."""
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"must be an int in [0, 65536). Got {text!r} instead.")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# -------------------------------------------------------------------------------------- commands


EXPLAIN = """\
Find what would change the prediction of a model for the people of a table, and write it down.
The columns of a csv file are read in the types that the training data had."""

EXAMPLES = """\
examples:
  %(prog)s --model explainer.skops --data refused.csv --target approved \\
      --max-changes 2 --immutable sex --increasing age --out recourse.html --out recourse.csv
  %(prog)s --model model.skops --training training.csv --label decision \\
      --data refused.csv --target approved --at-least 0.8
  %(prog)s --model prices.skops --data flats.parquet --at-least 200000 --out - | head"""


def build_parser(prog: str) -> argparse.ArgumentParser:
    """The parser of the whole command line; ``command`` names what was chosen."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Counterfactual explanations: what has to change for another prediction.",
        epilog=f"'{prog} COMMAND --help' shows the options of a command.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _explain(commands)
    _fit(commands)
    _report(commands)
    _serve(commands)
    _demo(commands)
    return parser


def _command(commands: Any, name: str, summary: str, about: str, epilog: str = "") -> Any:
    command = commands.add_parser(
        name,
        help=summary,
        description=about,
        epilog=f"{epilog}\n\n{EXIT_CODES}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--debug", action="store_true", help="show where an error comes from (a traceback)"
    )
    command.add_argument("--quiet", "-q", action="store_true", help="print nothing but errors")
    return command


def _model_options(command: Any, what: str) -> None:
    command.add_argument("--model", required=True, metavar="FILE", help=what)
    command.add_argument(
        "--trust",
        nargs="+",
        action="extend",
        default=[],
        metavar="TYPE",
        help="full names of further types that the model file may hold, such as "
        "sklearn.tree._tree.Tree for forests",
    )
    command.add_argument(
        "--max-size",
        type=mebibytes,
        default=MAX_SIZE,
        metavar="MIB",
        help="most that the model file, or a compressed or parquet table, may unpack to, in MiB "
        f"(default: {MAX_SIZE >> 20})",
    )


def _training_options(command: Any, name: str, required: bool) -> None:
    command.add_argument(
        f"--{name}", required=required, metavar="FILE", help="training data: csv or parquet"
    )
    command.add_argument(
        "--label",
        required=required,
        metavar="COLUMN",
        help="column of the training data that holds what the model predicts",
    )
    command.add_argument(
        "--drop",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns of the training data that are no features (default: those that a trained "
        "model does not know)",
    )


def _data_options(command: Any) -> None:
    command.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="people to explain: csv, parquet, or - for csv on standard input",
    )
    command.add_argument(
        "--id",
        metavar="COLUMN",
        help="column of the data that names the people (default: 0, 1, 2, ...)",
    )
    command.add_argument(
        "--target",
        nargs="+",
        action="extend",
        metavar="CLASS",
        help="the wanted class, or several of which any would do (default: the nearest other one)",
    )
    command.add_argument(
        "--at-least",
        type=number,
        metavar="X",
        help="least probability of the target, which then decides instead of the prediction; for a "
        "regressor the least value",
    )
    command.add_argument(
        "--at-most",
        type=number,
        metavar="X",
        help="greatest probability of the target; for a regressor the greatest value",
    )


def _search_options(command: Any) -> None:
    defaults = CounterfactualExplainer(None)
    command.add_argument(
        "--max-changes",
        type=budget,
        metavar="N",
        help="change at most N columns, or as few as possible for each person: fewest",
    )
    command.add_argument(
        "--tau",
        type=weight,
        metavar="X",
        help=f"weight of plausibility (default: {defaults.tau:g})",
    )
    command.add_argument(
        "--beta", type=weight, metavar="X", help=f"price of a change (default: {defaults.beta:g})"
    )
    command.add_argument(
        "--penalty",
        choices=("l0", "l1/2", "l2/3", "l1"),
        help="penalty of the changes (default: l0)",
    )
    command.add_argument(
        "--effort", choices=("default", "thorough"), help="how hard to search (default: default)"
    )
    _rule_options(command)


def _rule_options(command: Any) -> None:
    for name, phrase in FLAGS.items():
        meaning = f"each of these columns {phrase}"
        command.add_argument(
            f"--{name}", nargs="+", action="extend", metavar="COLUMN", help=meaning
        )
    command.add_argument("--rules", metavar="FILE", help="rules for columns as JSON, see below")


def _explain(commands: Any) -> None:
    command = _command(
        commands,
        "explain",
        "what would change the prediction, for everybody in a table",
        EXPLAIN,
        f"{EXAMPLES}\n\n{EXAMPLE}",
    )
    _model_options(
        command,
        "an explainer that 'fit' or scfe_sklearn.save wrote; or any model "
        "(skops), together with --training and --label",
    )
    _training_options(command, "training", False)
    _data_options(command)
    _search_options(command)
    command.add_argument(
        "--options", type=whole(1), default=1, metavar="N", help="answers per person (default: 1)"
    )
    command.add_argument(
        "--out",
        action="append",
        metavar="FILE",
        help="where the answers go, by suffix: .html is a page for people, .csv a table, .json "
        "everything, .parquet a table (from --data in parquet it need not fit into memory); - is "
        "csv on standard output; may be repeated (default: sentences on "
        "standard output)",
    )
    command.add_argument("--title", metavar="TEXT", help="heading of the page")
    _raw_option(command)
    command.add_argument(
        "--strict", action="store_true", help="exit with 1 if somebody has no answer"
    )
    command.add_argument(
        "--time-limit", type=seconds, metavar="SECONDS", help="begin nothing more after this time"
    )
    command.add_argument(
        "--checkpoint",
        "--resume",
        metavar="FOLDER",
        help="keep the answers of every few seconds in this folder: the same command resumes "
        "after it was killed",
    )
    command.add_argument(
        "--jobs", type=int, metavar="N", help="worker processes; -1 for all processors (default: 1)"
    )
    _progress_option(command, "a bar")


def _raw_option(command: Any) -> None:
    command.add_argument(
        "--raw",
        action="store_true",
        help="write the cells of csv as they are (default: text that a spreadsheet would take for "
        "a formula has an apostrophe in front, and control characters are marked)",
    )


def _progress_option(command: Any, what: str) -> None:
    command.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=f"show {what} (default: where standard error is a terminal)",
    )


def _fit(commands: Any) -> None:
    defaults = CounterfactualExplainer(None)
    command = _command(
        commands,
        "fit",
        "make an explainer of a model and its training data",
        "Make an explainer of a model and its training data, for 'explain' and 'serve'.\n"
        "Parquet keeps the types of columns; of csv they are guessed, as pandas.read_csv does.",
        EXAMPLE,
    )
    _model_options(
        command,
        "the model as skops.io.dump writes it; one that is not trained yet is trained on the data",
    )
    _training_options(command, "data", True)
    command.add_argument("--out", required=True, metavar="FILE", help="the explainer: .skops")
    command.add_argument(
        "--density",
        choices=tuple(DENSITIES),
        help=f"what plausible means (default: {defaults.density})",
    )
    command.add_argument(
        "--solver",
        choices=("auto", "apg", "search", "milp"),
        help=f"how to search (default: {defaults.solver})",
    )
    _search_options(command)
    _progress_option(command, "which step it is at")


def _report(commands: Any) -> None:
    command = _command(
        commands,
        "report",
        "a page or table of answers that were kept as JSON",
        "Turn answers that were kept as JSON into a page for people, or a table.",
    )
    command.add_argument("source", metavar="FILE", help="what 'explain --out answers.json' wrote")
    command.add_argument(
        "--out",
        action="append",
        required=True,
        metavar="FILE",
        help="by suffix .html, .csv or .json; - is csv on standard output; may be repeated",
    )
    command.add_argument("--title", metavar="TEXT", help="heading of the page")
    _raw_option(command)
    _progress_option(command, "which step it is at")


def _serve(commands: Any) -> None:
    command = _command(
        commands,
        "serve",
        "a page to try out changes, for this machine only",
        "Serve a page where one moves the features of a person and sees what the model predicts.\n"
        "It is at 127.0.0.1, for this machine only; Ctrl-C ends it.",
        EXAMPLE,
    )
    _model_options(command, "an explainer that 'fit' or scfe_sklearn.save wrote")
    _data_options(command)
    _rule_options(command)
    command.add_argument(
        "--port", type=port, default=0, metavar="N", help="port (default: any free one)"
    )
    command.add_argument("--open", action="store_true", help="open the page in a browser")
    _progress_option(command, "which step it is at")


def _demo(commands: Any) -> None:
    commands.add_parser("demo", help="generated loan applications, to see it work", add_help=False)
