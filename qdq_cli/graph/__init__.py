"""Everything that knows ONNX: load, prepare, plan, propagate, run, rewrite, save."""
