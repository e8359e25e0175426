"""Ways to other programs: safetensors, ONNX."""
