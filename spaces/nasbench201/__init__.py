"""NAS-Bench-201: cells of four nodes and six edges with five operations each (Dong and Yang, ICLR 2020)."""

from budgetnas.spaces.nasbench201.space import NASBench201

__all__ = ["NASBench201"]
