"""One call of ``explain``: query, search, judge, proofs, report.

In the order of a call of ``explain``: `checks` and `query` read the query, `score_functions`
compiles the models, `surroundings` the densities and rows around the wanted kinds, `engine` has
the solvers search, `judge` lets the user's model and the rules decide, `answers` repeats both
until every row has its answers (`training_rows`, `enumeration` and `proofs` are its last
resorts), `exact` and `trade_offs` are other ways to answer, and `reporting` builds the result.
"""
