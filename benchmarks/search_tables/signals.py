"""The short trainings that might stand for a full one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """A short training.

    Args:
        start: From where: `"scratch"`; `"apart"`, the means of the groups' weights in
            a donor, the unshared network after a full training; `"fitted"`, the
            kernels that are closest to those of the groups on the donor's inputs; or
            `"alike"`, the means of a donor whose sites had equal weights before its
            training.
        part: Its steps, as a part of a full training's.
        peak: Its first learning rate.
    """

    start: str
    part: float
    peak: float = 0.01


SIGNALS = {
    "scratch_10_low": Signal("scratch", 0.1, peak=0.005),
    "scratch_10": Signal("scratch", 0.1, peak=0.02),
    "apart_0": Signal("apart", 0),
    "apart_5": Signal("apart", 0.05),
    "apart_10_low": Signal("apart", 0.1, peak=0.003),
    "apart_10": Signal("apart", 0.1),
    "apart_10_high": Signal("apart", 0.1, peak=0.02),
    "apart_20": Signal("apart", 0.2),
    "fitted_0": Signal("fitted", 0),
    "fitted_5": Signal("fitted", 0.05),
    "fitted_10_low": Signal("fitted", 0.1, peak=0.003),
    "fitted_10": Signal("fitted", 0.1),
    "fitted_20": Signal("fitted", 0.2),
    "alike_0": Signal("alike", 0),
    "alike_5": Signal("alike", 0.05),
    "alike_10_low": Signal("alike", 0.1, peak=0.003),
    "alike_10": Signal("alike", 0.1),
    "alike_10_high": Signal("alike", 0.1, peak=0.02),
    "alike_20": Signal("alike", 0.2),
}
