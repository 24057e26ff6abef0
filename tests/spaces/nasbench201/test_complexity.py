"""Parameters and multiply-adds: the exact published figures, and a plain count layer by layer."""

import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import OPERATIONS
from budgetnas.spaces.space import Architecture, Complexity
from budgetnas.spaces.task import TASKS, Task

SPACE = NASBench201()
ALL_3X3 = Architecture("nasbench201", (3,) * 6)
EMPTY = Architecture("nasbench201", (0,) * 6)


class Walk:
    """Counts parameters and multiply-adds of a network layer by layer."""

    def __init__(self, task: Task):
        self.channels, self.side = task.image_channels, task.image_size
        self.params = self.macs = 0

    def convolution(self, channels: int, kernel: int, stride: int = 1) -> None:
        padding = kernel // 2
        side = (self.side + 2 * padding - kernel) // stride + 1
        for _pixel in range(side * side):
            self.macs += channels * self.channels * kernel * kernel
        self.params += channels * self.channels * kernel * kernel
        self.channels, self.side = channels, side

    def normalisation(self) -> None:
        self.params += 2 * self.channels

    def cell(self, genes: tuple[int, ...]) -> None:
        for gene in genes:
            operation = OPERATIONS[gene]
            if operation.startswith("nor_conv"):
                self.convolution(self.channels, kernel=int(operation[-1]))
                self.normalisation()

    def residual_block(self, channels: int) -> None:
        entered_with, entered_at = self.channels, self.side
        self.convolution(channels, 3, stride=2)
        self.normalisation()
        self.convolution(channels, 3)
        self.normalisation()
        left_at = self.side
        # The shortcut: average pooling over 2x2 pixels, then a 1x1 convolution without normalisation.
        self.channels, self.side = entered_with, entered_at // 2
        self.convolution(channels, 1)
        assert self.side == left_at

    def linear(self, classes: int) -> None:
        self.params += self.channels * classes + classes
        self.macs += self.channels * classes


def walked(arch: Architecture, task: Task) -> Complexity:
    walk = Walk(task)
    walk.convolution(16, 3)
    walk.normalisation()
    for channels in (16, 32, 64):
        if channels > 16:
            walk.residual_block(channels)
        for _cell in range(5):
            walk.cell(arch.genes)
    walk.normalisation()
    walk.linear(task.classes)
    return Complexity(walk.params, walk.macs)


@pytest.mark.parametrize(
    ("arch", "params", "macs"),
    [(ALL_3X3, 1_531_546, 220_119_680), (EMPTY, 73_306, 7_783_040), (SPACE.at(0), 129_306, 15_647_360), (SPACE.at(1), 802_426, None)],
    ids=["all 3x3 convolutions", "smallest", "index 0", "index 1"],
)
def test_the_complexity_equals_the_published_figures(arch: Architecture, params: int, macs: int | None) -> None:
    complexity = SPACE.complexity(arch, TASKS["cifar10"])
    assert complexity.params == params
    assert macs is None or complexity.macs == macs


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_the_complexity_equals_a_count_layer_by_layer(dataset: str) -> None:
    for index in (*range(0, 15_625, 1_250), SPACE.index(ALL_3X3), SPACE.index(EMPTY)):
        assert SPACE.complexity(SPACE.at(index), TASKS[dataset]) == walked(SPACE.at(index), TASKS[dataset])


@pytest.mark.parametrize(
    ("dataset", "smallest", "largest"),
    [
        ("cifar100", Complexity(79_156, 7_788_800), Complexity(1_537_396, 220_125_440)),
        ("ImageNet16-120", Complexity(80_456, 1_953_280), Complexity(1_538_696, 55_037_440)),
    ],
)
def test_other_datasets_differ_in_classes_and_pixels(dataset: str, smallest: Complexity, largest: Complexity) -> None:
    # Computed by hand from CIFAR-10: 65 parameters and 64 multiply-adds per class, and a quarter of the pixels in 16x16 images.
    assert SPACE.complexity(EMPTY, TASKS[dataset]) == smallest
    assert SPACE.complexity(ALL_3X3, TASKS[dataset]) == largest


def test_the_smallest_and_the_largest_complexity_of_the_space() -> None:
    params, macs = SPACE.complexities(TASKS["cifar10"])
    assert (params.min(), macs.min()) == (73_306, 7_783_040)
    assert (params.max(), macs.max()) == (1_531_546, 220_119_680)
    assert params.argmax() == macs.argmax() == SPACE.index(ALL_3X3)
    # Three of the five operations cost nothing, on each of six edges.
    assert (params == params.min()).sum() == (macs == macs.min()).sum() == 3**6
