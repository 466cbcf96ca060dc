"""Which sites share: patterns as plain values, without a tensor."""
