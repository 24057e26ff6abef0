"""What mixtures of operations compute with: equal to PyTorch's own operations, with less written and read, and faster gradients."""
