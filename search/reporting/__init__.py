"""The report of a search: what is estimated from its trials, drawn and written.

`SearchResults` is its front door: `plot_pareto` and `to_html`.
"""
