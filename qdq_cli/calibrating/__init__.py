"""Samples in, calibration table out: here, in shares, or on a cluster."""
