"""Export: what a ticket becomes outside: Hugging Face folders, bitmasks, CSR, ONNX, OpenVINO; and checkpoints cut in place."""
