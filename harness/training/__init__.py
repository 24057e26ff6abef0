"""Training networks from scratch: images, recipes and training loops. Only modules that train import torch."""
