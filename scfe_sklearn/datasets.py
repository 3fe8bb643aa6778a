"""A generated data set of loan applications, for examples and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["make_loan_applications"]

_EDUCATION = ("primary", "secondary", "bachelor", "master", "doctorate")
_HOUSING = ("rent", "mortgage", "own")
_PURPOSES = ("car", "home improvement", "education", "medical", "business", "debt")
_PURPOSE_SHARES = (0.28, 0.22, 0.12, 0.1, 0.11, 0.17)
_PURPOSE_MEDIANS = np.array([14_000, 17_000, 11_000, 6_000, 26_000, 12_000])
_PURPOSE_BONUS = np.array([0.3, 0.4, 0.1, 0.0, -0.8, -0.5])
_TERMS = np.array([12, 24, 36, 48, 60, 72])
_APPROVAL_THRESHOLD = 2.44


def make_loan_applications(
    n_samples: int = 2000, *, random_state: Any = 0, as_frame: bool = True
) -> tuple[Any, Any]:
    """Generate loan applications of mixed types with a nonlinear decision.

    Applicants are drawn cause by cause: age, education and years of employment make the
    income; income and age make savings and housing; employment, savings and late payments
    make the credit score; purpose and income make the amount. The bank approves where a score
    with saturating, interacting terms plus logistic noise passes a threshold, in about 65 % of
    the cases. Sex has no part in the decision, but in the income, so a model can pick it up.

    ================  ================================================================
    column            values
    ================  ================================================================
    age               whole years, 18 to 80
    sex               "female", "male"
    education         ordered: primary < secondary < bachelor < master < doctorate
    employment_years  whole years in employment, at most age - 16
    income            whole currency units per year, in hundreds
    savings           whole currency units, in hundreds; many have none
    credit_score      whole points, 300 to 850
    late_payments     whole number in the last two years, 0 to 9
    debt_ratio        debt service over income, 0.00 to 0.90, two decimals
    loan_amount       whole currency units, in steps of 500
    loan_term         months: 12, 24, ..., 72
    purpose           car, home improvement, education, medical, business, debt
    housing           rent, mortgage, own
    has_cosigner      bool
    ================  ================================================================

    Parameters
    ----------
    n_samples : int, default=2000
        Number of applications.
    random_state : int, RandomState or None, default=0
        The same number gives the same applications.
    as_frame : bool, default=True
        Whether to return pandas objects; else an object array and an array of labels.

    Returns
    -------
    X : DataFrame or ndarray of shape (n_samples, 14)
    y : Series or ndarray of shape (n_samples,)
        "approved" or "refused".

    Examples
    --------
    >>> X, y = make_loan_applications(500, random_state=0)
    >>> X.shape, sorted(y.unique())
    ((500, 14), ['approved', 'refused'])
    >>> bool(0.55 < (y == "approved").mean() < 0.75)
    True
    """
    import pandas as pd

    if isinstance(n_samples, bool) or not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
        raise ValueError(
            "The 'n_samples' parameter of make_loan_applications must be an int in [1, inf). "
            f"Got {n_samples!r} instead."
        )
    rng = check_random_state(random_state)
    people = _people(int(n_samples), rng)
    loans = _loans(people, rng)
    score = _approval_score(people, loans) + rng.logistic(scale=0.3, size=n_samples)
    X = _frame(people | loans)
    y = pd.Series(np.where(score > _APPROVAL_THRESHOLD, "approved", "refused"), name="decision")
    if as_frame:
        return X, y
    return X.astype(object).to_numpy(), y.to_numpy(dtype="U8")


def _people(n: int, rng: np.random.RandomState) -> dict[str, np.ndarray]:
    """Draw applicants: categories as codes, everything in the units of the data set."""
    age = np.clip(18 + rng.gamma(3.2, 7.5, n), 18, 80).astype(int)
    male = rng.random_sample(n) < 0.5
    # A degree takes years: the youngest cannot have the highest ones.
    talent = rng.normal(size=n)
    rank = np.digitize(talent, [-1.3, 0.25, 1.05, 1.9])
    education = np.minimum(rank, np.digitize(age, [19, 22, 24, 28]))
    years_at_school = np.array([16, 18, 22, 24, 28])[education]
    employed = rng.beta(4, 1.4, n) * np.clip(np.minimum(age, 66) - years_at_school, 0, None)
    employment = np.rint(employed).astype(int)

    income = 19_000 * np.exp(
        np.array([0.0, 0.22, 0.5, 0.68, 0.85])[education]
        + 0.55 * np.log1p(employment) / np.log(11)
        - 0.004 * np.clip(age - 58, 0, None)
        + 0.06 * male
        + 0.3 * rng.normal(size=n)
    )
    thrift = rng.normal(size=n)
    wealth = income * np.exp(-2.2 + 0.025 * (age - 35) + 0.9 * thrift)
    savings = np.where(wealth > 2_500, wealth - 2_500, 0)
    settled = 0.05 * (age - 38) + 0.9 * np.log(income / 40_000) + rng.logistic(size=n)
    housing = np.digitize(settled, [0.1, 1.5])
    late = np.minimum(rng.poisson(np.exp(-0.6 - 0.7 * thrift - 0.02 * employment)), 9)
    credit = (
        580
        + 24 * np.log1p(employment)
        + 9 * np.log1p(savings / 1_000)
        - 38 * late
        + 8 * education
        + 58 * rng.normal(size=n)
    )
    return {
        "age": age,
        "male": male,
        "education": education,
        "employment_years": employment,
        "income": _stepped(income, 100),
        "savings": _stepped(savings, 100),
        "credit_score": np.clip(np.rint(credit), 300, 850).astype(int),
        "late_payments": late.astype(int),
        "housing": housing,
    }


def _loans(people: dict[str, np.ndarray], rng: np.random.RandomState) -> dict[str, np.ndarray]:
    """Loans that people apply for, and debts that they have."""
    n, income = len(people["age"]), people["income"]
    purpose = rng.choice(len(_PURPOSES), n, p=_PURPOSE_SHARES)
    amount = _PURPOSE_MEDIANS[purpose] * (income / 40_000) ** 0.5
    amount = np.clip(amount * np.exp(0.5 * rng.normal(size=n)), 1_000, 90_000)
    wanted = 2 + 115 * amount / income + 9 * rng.normal(size=n)
    term = _TERMS[np.abs(wanted[:, None] - _TERMS).argmin(axis=1)]
    burden = -0.95 + 0.45 * (people["housing"] == 1) + 0.16 * people["late_payments"]
    burden = burden - 0.35 * np.log(income / 40_000) + 0.7 * rng.normal(size=n)
    weak = (650 - people["credit_score"]) / 60
    cosigner = rng.random_sample(n) < 0.08 + 0.25 / (1 + np.exp(-weak))
    return {
        "debt_ratio": np.round(0.9 / (1 + np.exp(-burden)), 2),
        "loan_amount": _stepped(amount, 500),
        "loan_term": term,
        "purpose": purpose,
        "has_cosigner": cosigner,
    }


def _approval_score(people: dict[str, np.ndarray], loans: dict[str, np.ndarray]) -> np.ndarray:
    """Score of the bank without noise: saturating in credit, burden and savings."""
    credit, cosigner = people["credit_score"], loans["has_cosigner"]
    instalments = 12 * loans["loan_amount"] / loans["loan_term"] / people["income"]
    burden = loans["debt_ratio"] + instalments
    poor_credit = 1 / (1 + np.exp((credit - 560) / 18))
    return (
        2.0 * np.tanh((credit - 640) / 80)
        + 2.6 * np.tanh((0.55 - burden) / 0.22)
        + 0.45 * np.log1p(people["employment_years"])
        + 0.9 * np.tanh(people["savings"] / (1 + loans["loan_amount"]))
        + 0.15 * people["education"]
        + np.array([0.0, 0.15, 0.4])[people["housing"]]
        + _PURPOSE_BONUS[loans["purpose"]]
        + cosigner * (0.5 + 2.0 * poor_credit)  # a cosigner matters most where credit is poor
        - 2.0 * poor_credit
        - 0.5 * np.clip(people["age"] - 68, 0, None) * (loans["loan_term"] > 48)
    )


def _frame(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """Put the columns in order, with labels instead of codes."""
    import pandas as pd

    def labelled(name: str, labels: tuple[str, ...], *, ordered: bool = False) -> Any:
        codes = np.asarray(columns[name], dtype=np.int64)
        return pd.Categorical.from_codes(codes, categories=pd.Index(labels), ordered=ordered)

    return pd.DataFrame(
        {
            "age": columns["age"],
            "sex": np.where(columns["male"], "male", "female"),
            "education": labelled("education", _EDUCATION, ordered=True),
            "employment_years": columns["employment_years"],
            "income": columns["income"],
            "savings": columns["savings"],
            "credit_score": columns["credit_score"],
            "late_payments": columns["late_payments"],
            "debt_ratio": columns["debt_ratio"],
            "loan_amount": columns["loan_amount"],
            "loan_term": columns["loan_term"],
            "purpose": labelled("purpose", _PURPOSES),
            "housing": labelled("housing", _HOUSING),
            "has_cosigner": columns["has_cosigner"],
        }
    )


def _stepped(values: np.ndarray, step: int) -> np.ndarray:
    """Whole multiples of a step."""
    return step * np.rint(values / step).astype(int)
