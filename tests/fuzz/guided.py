"""One target under atheris: python -m tests.fuzz.guided NAME [options of libFuzzer]"""

import sys
import warnings


def search(name, arguments):
    import atheris

    with atheris.instrument_imports(include=["scfe_sklearn"]):
        from tests.fuzz.targets import hypothesis_test
    atheris.Setup(arguments, hypothesis_test(name).hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    search(sys.argv[1], [sys.argv[0], *sys.argv[2:]])
