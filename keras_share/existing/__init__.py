"""Sharing in models that exist already."""

from keras_share.existing.share import share
from keras_share.existing.sites import find_sites
from keras_share.existing.untie import untie

__all__ = ["find_sites", "share", "untie"]
