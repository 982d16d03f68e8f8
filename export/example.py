"""The images that graphs are captured with."""

import torch

EXAMPLE = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)  # a batch of 1 would be taken for a constant
