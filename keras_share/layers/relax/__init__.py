"""Relaxations: small weights by which the uses of shared kernels differ."""
