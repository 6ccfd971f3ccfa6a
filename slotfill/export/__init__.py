"""Export: the network as ONNX models that predict without torch."""
