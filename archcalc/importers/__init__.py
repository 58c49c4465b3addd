"""Networks of other programs: PyTorch modules, ONNX, and the files in which others describe layers."""
