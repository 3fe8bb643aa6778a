"""One call of ``explain``: query, search, judge, proofs, report.

In the order of a call of ``explain``: `checks` and `query` read the query, `score_functions`
compiles the models, `reference_data` holds the training rows and densities of the targets,
`engine` runs the solvers, `judge` checks points by the user's model and the rules, `answers`
repeats both until every row has its answers (then by training rows, `enumeration` and `proofs`),
`options` finds several answers per row, `short_points` and `shortening` round their numbers,
`exact` and `trade_offs` are alternatives, and `reporting` builds the result.
"""
