"""One subgraph in the place of operators that repeat."""
