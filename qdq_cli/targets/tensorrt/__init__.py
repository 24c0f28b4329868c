"""What TensorRT will do with a Q/DQ graph, predicted without TensorRT."""
