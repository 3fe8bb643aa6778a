"""The demonstration: refused loan applicants, what they can do, and how good it is."""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Sequence

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.cli.parser import weight, whole
from scfe_sklearn.demo import REFUSED, TARGET, Quality, judge_answers, open_loan_desk
from scfe_sklearn.densities.class_conditional import DENSITIES
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation

SHOWN = 8
WIDTH = 96


def demonstrate(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the demonstration; return its exit code."""
    options = _parser(prog).parse_args(arguments)
    desk = open_loan_desk(options.rows, random_state=options.seed)
    refused = desk.decided(desk.X_test, REFUSED)
    accuracy = desk.model.score(desk.X_test, desk.y_test)
    print(
        f"Data   {len(desk.X_train):,} generated loan applications to train on, "
        f"{len(desk.X_test):,} to test; {desk.X_train.shape[1]} columns of mixed types\n"
        f"Model  one-hot, ordinal and scaled columns -> network of 32 units: "
        f"{accuracy:.1%} of the test part right\n"
        f"Query  all {len(refused):,} test applicants whom the model refuses"
    )
    if refused.empty:
        print("\nNobody was refused, so there is nothing to explain. Try more --rows.")
        return 0

    explainer = desk.explainer().set_params(
        density=options.density, tau=options.tau, max_changes=options.max_changes
    )
    explainer.fit(desk.X_train, desk.y_train)
    start = time.perf_counter()
    # Rows without an answer are shown and counted below.
    with ignore_warnings(UserWarning):
        result = explainer.explain(refused, target=TARGET)
    seconds = time.perf_counter() - start
    quality = judge_answers(desk, explainer, result)

    print("Rules  " + _wrapped("; ".join(result.rules_text), indent=7))
    print(f"\nThe first {min(SHOWN, len(result))} of them, and what would get them the loan\n")
    _print_people(result[:SHOWN])
    _print_failures(result)
    _print_quality(quality, 1000 * seconds / len(result))
    if not quality.sound:
        print("\nNOT SOUND: an answer is refused by the model or breaks a rule.")
    return 0 if quality.sound else 1


def _parser(prog: str | None) -> argparse.ArgumentParser:
    defaults = CounterfactualExplainer(None)
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Generate loan applications, train a model, and explain its refusals: "
        "what would have to change. Nothing is downloaded or written.",
        epilog="Exit code: 0 if every answer is approved by the model and within the rules (or "
        "nobody was refused), 1 if one is not, 2 for a wrong option. A row without an answer is "
        "no error: it is shown with its reason and lowers the coverage. For your own model and "
        "data there are the commands of 'scfe-sklearn --help'.",
    )
    parser.add_argument(
        "--rows",
        type=whole(200),
        default=4000,
        metavar="N",
        help="applications to generate, at least 200; a quarter is the test part (default: 4000)",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="of data and model (default: 0)"
    )
    parser.add_argument(
        "--density",
        choices=tuple(DENSITIES),
        default=defaults.density,
        help="what plausible means (default: %(default)s)",
    )
    parser.add_argument(
        "--tau",
        type=weight,
        default=defaults.tau,
        metavar="X",
        help="weight of plausibility, 0 or more (default: %(default)g)",
    )
    parser.add_argument(
        "--max-changes",
        type=whole(1),
        default=defaults.max_changes,
        metavar="N",
        help="change at most N features (default: no limit)",
    )
    return parser


def _print_people(result: Explanation) -> None:
    """Print who is refused, and the sentence about each."""
    people = result.factual.to_dict("records")
    for k, sentence in enumerate(result.sentences()):
        person = people[k]
        before, after = result.probability_before[k], result.probability_after[k]
        chance = f"{before:.0%} -> {after:.0%}" if result.success[k] else f"{before:.0%}"
        print(
            f"  #{result.index[k]:<6}{TARGET} {chance:<12}{person['age']} years, "
            f"earns {person['income']:,}, credit score {person['credit_score']}, "
            f"wants {person['loan_amount']:,} ({person['purpose']})"
        )
        print(" " * 9 + _wrapped(sentence, indent=9))


def _print_failures(result: Explanation) -> None:
    """Print how many rows have no answer, with one of them if none was shown yet."""
    failed = result[~result.success]
    if not len(failed):
        return
    print(f"\nNo answer within these rules for {len(failed)} of {len(result)}", end="")
    if result.success[:SHOWN].all():
        print(", for example\n")
        _print_people(failed[:1])
    else:
        print()


def _print_quality(quality: Quality, milliseconds: float) -> None:
    """Print the scores, with those of other people where they help to read them."""
    print(f"\nQuality of the answers for all {quality.rows:,}, judged apart from the solver\n")
    lines = [
        ("coverage", _share(quality.answers, quality.rows), "refused applicants with an answer"),
        ("validity", _share(quality.valid, quality.answers), "answers that the model approves"),
        ("rule violations", f"{quality.rule_violations}", "in all answers together"),
        ("changed features", f"{quality.changes:.2f}", "per answer"),
        ("distance", f"{quality.distance:.2f}", "standard deviations; a new category counts 1"),
        ("minimal", f"{quality.minimal:.1%}", "answers of which no single change can be undone"),
        ("time", f"{milliseconds:.1f} ms", "per row, checks included"),
    ]
    for name, value, meaning in lines:
        print(f"  {name:<18}{value:>9}   {meaning}")
    print(f"\n  {'':18}{'answers':>9}{'refused':>10}{'approved':>10}   test applicants as they are")
    for name, values, meaning in (
        ("outlier factor", quality.local_outlier_factor, "LOF; 1 is ordinary"),
        ("nearest five", quality.neighbour_distance, "mean distance to them"),
        ("density quantile", quality.density_quantile, "0.5 is typical"),
    ):
        answers, refused, approved = values
        print(f"  {name:<18}{answers:>9.2f}{refused:>10.2f}{approved:>10.2f}   {meaning}")
    print("  (among the training applicants whom the model approves; means)")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _wrapped(text: str, *, indent: int) -> str:
    """Text in lines of limited width, all but the first indented."""
    return f"\n{' ' * indent}".join(textwrap.wrap(text, WIDTH - indent))
