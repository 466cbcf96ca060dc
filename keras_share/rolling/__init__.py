"""Rolling: one subgraph in the place of operators that repeat."""

from keras_share.rolling.roll import Body, Left, RollReport, roll

__all__ = ["Body", "Left", "RollReport", "roll"]
