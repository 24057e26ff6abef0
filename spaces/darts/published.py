"""Published genotypes by name, and quoted results of published searches in this space, which are never ranked with ours.

Results are test accuracies [%]: 100 minus the error, if the paper gives errors. Rows of other search spaces are left out.
"""

from __future__ import annotations

from budgetnas.spaces.quoted import Quoted

# By the names in the released code of their authors, in lower case.
GENOTYPES = {
    # DARTS, second order (figures 4 and 5 of the paper).
    "darts_v2": (
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
        "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
    ),
    # PC-DARTS, searched on CIFAR-10.
    "pcdarts_cifar10": (
        "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1), "
        "('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], normal_concat=range(2, 6), "
        "reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), "
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], reduce_concat=range(2, 6))"
    ),
}

DARTS_1, DARTS_3 = "DARTS paper, table 1", "DARTS paper, table 3"
RC_DARTS_1, RC_DARTS_2 = "RC-DARTS paper, table 1", "RC-DARTS paper, table 2"
DCA_NAS_1, DCA_NAS_2 = "DCA-NAS paper, table 1", "DCA-NAS paper, table 2"
DEFF_ARTS_3 = "DEff-ARTS paper, table 3"
_OWN_RUN = ", run by RC-DARTS's authors"
_SWAPPED = ", as printed (the channels of the two small DARTS rows look exchanged)"
_IMAGENET = ", searched on ImageNet"

# Dataset, source, method, accuracy, deviation, parameters [million], note.
_ACCURACIES: tuple[tuple[str, str, str, float, float | None, float, str], ...] = (
    ("cifar10", DCA_NAS_1, "DARTS (second order)", 97.24, 0.09, 3.3, ""),
    ("cifar10", DCA_NAS_1, "SNAS", 97.15, None, 2.8, ""),
    ("cifar10", DCA_NAS_1, "PC-DARTS", 97.43, 0.07, 3.6, ""),
    ("cifar10", DCA_NAS_1, "SGAS", 97.34, None, 3.7, ""),
    ("cifar10", DCA_NAS_1, "DrNAS", 97.46, 0.03, 4.0, ""),
    ("cifar10", DCA_NAS_1, "DARTS+PT", 97.39, 0.08, 3.0, ""),
    ("cifar10", DCA_NAS_1, "Shapley-NAS", 97.53, 0.04, 3.4, ""),
    ("cifar10", DCA_NAS_1, "DCA-NAS-3.5 M", 97.2, 0.09, 3.4, ""),
    ("tiny-imagenet", DCA_NAS_1, "DARTS", 62.15, 0.15, 7.3, ""),
    ("tiny-imagenet", DCA_NAS_1, "DCA-NAS-3.5 M", 61.34, 0.09, 3.5, ""),
    ("tiny-imagenet", DCA_NAS_1, "DCA-NAS-3.5 M (CIFAR-10)", 61.4, 0.15, 3.4, ", searched on CIFAR-10"),
)
# The same with the error in place of the accuracy.
_ERRORS: tuple[tuple[str, str, str, float, float | None, float, str], ...] = (
    ("cifar10", DARTS_1, "random search", 3.29, 0.15, 3.2, ", best of 24 samples"),
    ("cifar10", DARTS_1, "DARTS (first order)", 3.00, 0.14, 3.3, ""),
    ("cifar10", DARTS_1, "DARTS (second order)", 2.76, 0.09, 3.3, ""),
    ("cifar10", RC_DARTS_1, "DARTS", 2.83, 0.06, 3.4, ""),
    ("cifar10", RC_DARTS_1, "DARTS-C12", 3.44, None, 1.0, _OWN_RUN + _SWAPPED),
    ("cifar10", RC_DARTS_1, "DARTS-C20", 4.86, None, 0.48, _OWN_RUN + _SWAPPED),
    ("cifar10", RC_DARTS_1, "RC-DARTS-C42", 2.81, 0.03, 3.3, ""),
    ("cifar10", RC_DARTS_1, "RC-DARTS-C22", 3.02, None, 1.0, ""),
    ("cifar10", RC_DARTS_1, "RC-DARTS-C14", 4.17, None, 0.43, ""),
    ("cifar10", DEFF_ARTS_3, "DARTS (Gamma 0)", 2.76, 0.09, 3.3, ", 1,244,160 cycles by DEff-ARTS's count"),
    ("cifar10", DEFF_ARTS_3, "DEff-ARTS (Gamma 0.01)", 3.24, 0.26, 2.3, ", 642,048 cycles"),
    ("cifar10", DEFF_ARTS_3, "DEff-ARTS (Gamma 0.02)", 4.42, 0.07, 1.6, ", 276,480 cycles"),
    ("cifar10", DEFF_ARTS_3, "DEff-ARTS (Gamma 0.04)", 16.01, 0.41, 1.45, ", 0 cycles"),
    ("imagenet", DARTS_3, "DARTS (second order)", 26.7, None, 4.7, ", 574 M multiply-adds, searched on CIFAR-10"),
    ("imagenet", RC_DARTS_2, "DARTS", 26.9, None, 4.9, ", 595 M multiply-adds"),
    ("imagenet", RC_DARTS_2, "DARTS-C24", 34.8, None, 1.4, ", 140 M multiply-adds" + _OWN_RUN),
    ("imagenet", RC_DARTS_2, "RC-DARTS-C58", 25.1, None, 4.9, ", 590 M multiply-adds"),
    ("imagenet", RC_DARTS_2, "RC-DARTS-C28", 32.9, None, 1.4, ", 138 M multiply-adds"),
    ("imagenet", DCA_NAS_2, "SNAS", 27.3, None, 4.3, ""),
    ("imagenet", DCA_NAS_2, "GDAS", 26.0, None, 5.3, ""),
    ("imagenet", DCA_NAS_2, "BayesNAS", 26.5, None, 3.9, ""),
    ("imagenet", DCA_NAS_2, "P-DARTS", 24.4, None, 4.9, ""),
    ("imagenet", DCA_NAS_2, "SGAS", 24.2, None, 5.3, ", best run"),
    ("imagenet", DCA_NAS_2, "SDARTS-ADV", 25.2, None, 6.1, ""),
    ("imagenet", DCA_NAS_2, "Shapley-NAS", 24.3, None, 5.1, ""),
    ("imagenet", DCA_NAS_2, "DCA-NAS", 25.1, None, 5.1, ""),
    ("imagenet", DCA_NAS_2, "PC-DARTS (ImageNet)", 24.2, None, 5.3, _IMAGENET),
    ("imagenet", DCA_NAS_2, "DrNAS (ImageNet)", 24.2, None, 5.2, _IMAGENET),
    ("imagenet", DCA_NAS_2, "DARTS+PT (ImageNet)", 25.5, None, 4.7, _IMAGENET),
    ("imagenet", DCA_NAS_2, "Shapley-NAS (ImageNet)", 23.9, None, 5.4, _IMAGENET),
    ("imagenet", DCA_NAS_2, "DCA-NAS-5.5 M (ImageNet)", 24.4, None, 5.3, _IMAGENET),
)
_ROWS = (*_ACCURACIES, *((*row[:3], 100.0 - row[3], *row[4:]) for row in _ERRORS))
QUOTED = tuple(
    Quoted(method, dataset, round(test, 2), deviation, source, f"{params} M parameters{note}")
    for dataset, source, method, test, deviation, params, note in _ROWS
)
