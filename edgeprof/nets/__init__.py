"""Networks: a NetSpec, the ONNX model built from it, and the operators of any ONNX model."""
