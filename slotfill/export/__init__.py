"""From a trained network to a file that ONNX Runtime runs: see recorder.py, operators.py, graph.py."""
