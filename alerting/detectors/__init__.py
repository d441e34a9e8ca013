"""Detectors: one a file, each a pure function of the minutes it has seen."""
