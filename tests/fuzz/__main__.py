"""Fuzz the package: python -m tests.fuzz --minutes 1

Random frames, rules, targets, parameters and files are drawn by Hypothesis from the strategies of
the tests, for some minutes. A failure is printed with the smallest input that shows it and its
seed, and the command ends with 1. Where atheris is installed (python -m pip install -e '.[fuzz]'),
--guided lets it search for inputs that reach new code, one target after the other.
"""

import argparse
import importlib.util
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings

NAMES = ("frames", "classes", "values", "questions", "parameters", "files")
LONGEST = 4096  # bytes of an input of atheris


def options():
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=1.0, help="time in all (default: 1)")
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=NAMES, metavar="NAME",
                        help=f"among {', '.join(NAMES)} (default: all)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--examples", type=int, default=10, help="inputs of a seed (default: 10)")
    parser.add_argument("--guided", action="store_true", help="guided by coverage (atheris)")
    parser.add_argument("--corpus", help="folder for inputs that atheris found")
    return parser.parse_args()


def fuzz(chosen):
    """Run the targets in turns, each with the next seed, until the time is up."""
    from hypothesis import HealthCheck, Phase, seed, settings

    from tests.fuzz.targets import hypothesis_test

    end, counts, failed = (
        time.monotonic() + 60 * chosen.minutes,
        dict.fromkeys(chosen.targets, 0),
        {},
    )
    profile = settings(max_examples=chosen.examples, deadline=None, database=None,
                       print_blob=False, phases=[Phase.generate, Phase.shrink],
                       suppress_health_check=list(HealthCheck))  # fmt: skip
    for number in itertools.count(chosen.seed):
        for name in chosen.targets:
            if time.monotonic() >= end or len(failed) == len(chosen.targets):
                print(", ".join(f"{name}: {count} inputs" for name, count in counts.items()))
                return 1 if failed else 0
            if name in failed:
                continue
            try:
                seed(number)(profile(hypothesis_test(name)))()
            except Exception:
                failed[name] = number
                print(f"-- {name}, --seed {number}", flush=True)
                traceback.print_exc()
            counts[name] += chosen.examples


def guided(chosen):
    """Let atheris search each target in a process of its own, which it never leaves."""
    codes = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen.targets:
            corpus = os.path.join(chosen.corpus or temporary, name)
            begin_corpus(corpus, chosen.seed)
            share = max(1, int(60 * chosen.minutes / len(chosen.targets)))
            limits = [f"-max_total_time={share}", "-len_control=0", f"-max_len={LONGEST}"]
            command = [sys.executable, "-m", "tests.fuzz.guided", name, *limits, corpus]
            print(f"-- {name}", flush=True)
            codes.append(subprocess.run(command, check=False).returncode)
    return int(any(codes))


def begin_corpus(folder, seed):
    """Write random inputs to an empty folder: few properties do anything with a short one."""
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        return
    chance = random.Random(seed)
    for number in range(20):
        with open(os.path.join(folder, f"random-{number}"), "wb") as file:
            file.write(chance.randbytes(chance.randint(100, LONGEST)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    arguments = options()
    if not arguments.guided:
        sys.exit(fuzz(arguments))
    if importlib.util.find_spec("atheris") is None:
        sys.exit("--guided needs atheris: python -m pip install atheris")
    sys.exit(guided(arguments))
