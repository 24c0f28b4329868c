"""Calibration data: files on disk, preprocessed into arrays in the form the model takes."""
