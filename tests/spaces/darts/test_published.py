"""Published results of the DARTS space: their form, and figures from the tables of the papers."""

import re

from budgetnas.spaces.darts.published import QUOTED
from budgetnas.spaces.task import TASKS


def test_every_row_has_a_known_dataset_a_percentage_and_a_source() -> None:
    for row in QUOTED:
        assert row.dataset in TASKS and 50 < row.test < 100 and (row.deviation is None or 0 < row.deviation < 1)
        assert "paper, table" in row.source and re.match(r"[0-9.]+ M parameters(,|$)", row.note)
    assert len({(row.method, row.dataset, row.source) for row in QUOTED}) == len(QUOTED)


def test_errors_in_papers_are_quoted_as_accuracies() -> None:
    found = {(row.method, row.dataset, row.source): (row.test, row.deviation) for row in QUOTED}
    assert found["DARTS (second order)", "cifar10", "DARTS paper, table 1"] == (97.24, 0.09)
    assert found["DARTS (second order)", "imagenet", "DARTS paper, table 3"] == (73.3, None)
    assert found["DCA-NAS-3.5 M", "tiny-imagenet", "DCA-NAS paper, table 1"] == (61.34, 0.09)
    assert found["DCA-NAS-5.5 M (ImageNet)", "imagenet", "DCA-NAS paper, table 2"] == (75.6, None)
    assert found["RC-DARTS-C14", "cifar10", "RC-DARTS paper, table 1"] == (95.83, None)
    assert found["RC-DARTS-C58", "imagenet", "RC-DARTS paper, table 2"] == (74.9, None)
    assert found["DEff-ARTS (Gamma 0.04)", "cifar10", "DEff-ARTS paper, table 3"] == (83.99, 0.41)
