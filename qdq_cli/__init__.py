"""qdq: post-training INT8 quantization of ONNX models, with Q/DQ nodes placed where TensorRT wants them."""
