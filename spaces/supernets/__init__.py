"""The parts that all supernets share. Their operations equal PyTorch's own, but use less memory traffic and have faster gradients."""
