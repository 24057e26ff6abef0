"""Chains of inverted residual blocks: RCNet (Xiong, Mehta and Singh, ICCV 2019) and FBNet (Wu et al., CVPR 2019)."""

from budgetnas.spaces.chains.fbnet import FBNet
from budgetnas.spaces.chains.rcnet import RCNet

__all__ = ["FBNet", "RCNet"]
