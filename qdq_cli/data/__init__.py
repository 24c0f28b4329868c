"""Calibration data: images, arrays and tensors on disk, preprocessed and cut into batches that fit a model's inputs.

Nothing here opens a model, runs one or writes to the terminal. Pillow and onnx are imported only where a file needs
them.
"""
