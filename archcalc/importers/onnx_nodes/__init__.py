"""The nodes of an ONNX file as a Graph: pure Python, which imports no onnx."""
