"""Quoted results of published searches on NAS-Bench-201, which are never ranked with ours.

They are test accuracies [%] after a search on CIFAR-10 without any limit. Editions of the benchmark's paper differ, so every row names its
source.
"""

from __future__ import annotations

from budgetnas.spaces.quoted import Quoted

BENCHMARK = "NAS-Bench-201 (Dong and Yang, ICLR 2020), as later papers quote it"
DCA_NAS = "DCA-NAS paper, appendix, table 1"
_UNBINDING = "its limit of 6 M parameters cannot bind: the space ends at 1.53 M"
_ROWS: tuple[tuple[str, str, str, tuple[tuple[float, float | None], ...]], ...] = (
    ("RSPS", BENCHMARK, "", ((84.07, 3.61), (52.31, 5.77), (26.28, 3.09))),
    ("GDAS", BENCHMARK, "", ((93.61, 0.09), (70.70, 0.30), (41.71, 0.98))),
    ("DARTS", BENCHMARK, "", ((54.30, None), (15.61, None), (16.32, None))),
    ("ENAS", BENCHMARK, "", ((53.89, 0.58), (13.96, 2.33), (14.84, 2.10))),
    ("REINFORCE", BENCHMARK, "", ((93.85, 0.37), (71.71, 1.09), (45.24, 1.18))),
    ("regularized evolution", BENCHMARK, "", ((93.92, 0.30), (71.84, 0.99), (45.54, 1.03))),
    ("random search", BENCHMARK, "", ((93.70, 0.36), (71.04, 1.07), (44.57, 1.25))),
    ("RSPS", DCA_NAS, "", ((87.66, 1.69), (58.33, 4.34), (31.14, 3.88))),
    ("PC-DARTS", DCA_NAS, "", ((93.41, 0.30), (67.48, 0.89), (41.31, 0.22))),
    ("DCA-NAS", DCA_NAS, _UNBINDING, ((94.32, 0.3), (72.4, 0.4), (43.1, 0.6))),
)
QUOTED = tuple(
    Quoted(method, dataset, test, deviation, source, note)
    for method, source, note, figures in _ROWS
    for dataset, (test, deviation) in zip(("cifar10", "cifar100", "ImageNet16-120"), figures, strict=True)
)
