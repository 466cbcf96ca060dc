"""Tables of scores of every pattern, to compare searches on."""
