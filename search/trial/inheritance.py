"""`inherit`, which is of `keras_share.retrofit`, by the name it has in a search."""

from keras_share.retrofit.inheritance import InheritReport, check_donor, inherit

__all__ = ["InheritReport", "check_donor", "inherit"]
