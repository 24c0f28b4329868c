"""From TensorRT 8 to 10 to TensorRT 11: old calibration tables and Q/DQ exports into models of strong typing."""
