"""NAS-Bench-201's search network in plain form: a loop over edges and operations, each a separate module, with nothing shared or fused.

It is the reference for the results of `spaces/nasbench201/supernet.py`, and the baseline for its speed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from budgetnas.spaces.nasbench201.network import ResidualBlock, operation
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS
from budgetnas.spaces.nasbench201.supernet import Supernet
from budgetnas.spaces.space import SupernetOptions
from budgetnas.spaces.supernets.edges import ChosenEdges
from budgetnas.spaces.task import Task


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


class TextbookCell(nn.Module):
    def __init__(self, width: int, options: SupernetOptions):
        super().__init__()
        self.partial = options.partial
        inner = width // options.bottleneck
        made: dict[object, nn.ModuleList] = {}
        self.edges = nn.ModuleList()
        for edge in EDGES:
            key: object = edge[0] if options.shared else edge
            if key not in made:
                channels = inner // options.partial
                made[key] = nn.ModuleList(Nothing() if name == "none" else operation(name, channels, affine=False) for name in OPERATIONS)
            self.edges.append(made[key])
        self.narrow, self.widen = nn.ModuleList(), nn.ModuleList()
        if options.bottleneck > 1:
            self.narrow.extend(self._convolution(width, inner) for _ in range(3))
            self.widen.extend(self._convolution(inner, width) for _ in range(3))

    @staticmethod
    def _convolution(width_in: int, width_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(width_in, width_out, 1, bias=False), nn.BatchNorm2d(width_out, affine=False))

    def forward(self, x: Tensor, strengths: Tensor) -> Tensor:
        nodes = [x]
        for node in range(1, 4):
            terms = []
            for number, (source, target) in enumerate(EDGES):
                if target == node:
                    value = self.narrow[source](nodes[source]) if self.narrow else nodes[source]
                    terms.append(self._edge(self.edges[number], value, strengths[number]))
            total = sum(terms[1:], terms[0])
            nodes.append(self.widen[node - 1](total) if self.widen else total)
        return nodes[-1]

    def _edge(self, operations: nn.Module, x: Tensor, strengths: Tensor) -> Tensor:
        width = x.shape[1] // self.partial
        total: Tensor = sum(s * module(x[:, :width]) for s, module in zip(strengths, operations, strict=True))  # type: ignore[call-overload]
        if self.partial == 1:
            return total
        return nn.ChannelShuffle(self.partial)(torch.cat((total, strengths.sum() * x[:, width:]), dim=1))  # type: ignore[no-any-return]


class Textbook(nn.Module):
    def __init__(self, task: Task, options: SupernetOptions):
        super().__init__()
        small = task.dataset == "digits201"
        first, stages = options.channels or (8 if small else 16), 2 if small else 3
        widths = [first * 2**stage for stage in range(stages)]
        kernel = 1 if small else 3
        layers: list[nn.Module] = [nn.Conv2d(task.image_channels, first, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(first)]
        for stage, width in enumerate(widths):
            if stage and small:
                layers += [nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(width // 2, width, 1, bias=False), nn.BatchNorm2d(width)]
            elif stage:
                layers.append(ResidualBlock(width // 2, width))
            layers += [TextbookCell(width, options) for _ in range(options.cells or (1 if small else 5))]
        self.layers = nn.ModuleList([*layers, nn.BatchNorm2d(widths[-1]), nn.ReLU()])
        self.classifier = nn.Linear(widths[-1], task.classes)
        for inner in self.modules():
            if isinstance(inner, nn.BatchNorm2d):
                inner.track_running_stats = False
                inner.running_mean = inner.running_var = inner.num_batches_tracked = None

    def forward(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        x = images
        for layer in self.layers:
            x = layer(x, strengths[0]) if isinstance(layer, TextbookCell) else layer(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def pairs(fast: Supernet, textbook: Textbook) -> list[tuple[Tensor, list[Tensor]]]:
    """Return every trained tensor of the fast network with the matching tensors of the textbook: one, or one per edge to be stacked."""
    cells = [layer for layer in textbook.layers if isinstance(layer, TextbookCell)]
    mixed = [layer for layer in fast.layers if hasattr(layer, "edges")]
    inside = {id(parameter) for cell in cells for parameter in cell.parameters()}
    mine_inside = {id(parameter) for cell in mixed for parameter in cell.parameters()}
    mine = [parameter for parameter in fast.parameters() if id(parameter) not in mine_inside]
    theirs = [parameter for parameter in textbook.parameters() if id(parameter) not in inside]
    found = [(one, [two]) for one, two in zip(mine, theirs, strict=True)]
    for cell, plain in zip(mixed, cells, strict=True):
        for name in ("narrow", "widen") if plain.narrow else ():
            found += [(a, [b]) for a, b in zip(getattr(cell, name).parameters(), getattr(plain, name).parameters(), strict=True)]
        if isinstance(cell.edges, ChosenEdges):
            for mine_of_edge, theirs_of_edge in zip(cell.edges.operations, plain.edges, strict=True):
                found += [(a, [b]) for a, b in zip(mine_of_edge.parameters(), theirs_of_edge.parameters(), strict=True)]
            continue
        for source, leaving in enumerate(cell.edges.leaving):
            edges = [number for number, (start, _) in enumerate(EDGES) if start == source][: len(leaving.pointwise)]
            for mine_stacked, name in ((leaving.pointwise, "nor_conv_1x1"), (leaving.convolution, "nor_conv_3x3")):
                found.append((mine_stacked, [plain.edges[edge][OPERATIONS.index(name)][1].weight for edge in edges]))
    return found
