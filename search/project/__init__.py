"""What a search is on disk: the records of its trials, and what it is a search of."""
