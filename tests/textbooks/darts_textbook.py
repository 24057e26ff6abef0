"""DARTS's search network as in the paper: a loop over edges and operations, each a separate module, with nothing shared or fused.

It is the reference for the results of `spaces/darts/supernet.py`, with every option, and the baseline for its speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn import functional

from budgetnas.spaces.darts.layout import Place, Size, places
from budgetnas.spaces.darts.network import SmallImageStem
from budgetnas.spaces.darts.operations import connection, operation
from budgetnas.spaces.darts.order import CONNECTIONS, EDGES, NODES, OPERATIONS
from budgetnas.spaces.darts.space import DARTS
from budgetnas.spaces.darts.supernet import Position, Supernet
from budgetnas.spaces.space import SupernetOptions
from budgetnas.spaces.supernets.edges import ChosenEdges
from budgetnas.spaces.task import Task


def with_batch_statistics(module: nn.Module) -> nn.Module:
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm2d):
            inner.track_running_stats = False
            inner.running_mean = inner.running_var = inner.num_batches_tracked = None
    return module


class MixedOperation(nn.Module):
    """The operations of an edge, on the first of `partial` parts of the channels. The other channels bypass them."""

    def __init__(self, modules: Sequence[nn.Module], stride: int, partial: int):
        super().__init__()
        self.operations = nn.ModuleList(modules)
        self.partial, self.stride = partial, stride

    def forward(self, x: Tensor, strengths: Tensor) -> Tensor:
        width = x.shape[1] // self.partial
        total = sum(strength * module(x[:, :width]) for strength, module in zip(strengths, self.operations, strict=True))
        assert isinstance(total, Tensor)
        if self.partial == 1:
            return total
        past = x[:, width:]
        if self.stride == 2:
            past = functional.max_pool2d(past, 2, stride=2, ceil_mode=True)
        joined = torch.cat((total, strengths.sum() * past), dim=1)
        return nn.ChannelShuffle(self.partial)(joined)  # type: ignore[no-any-return]


class TextbookCell(nn.Module):
    def __init__(self, place: Place, names: Sequence[str], options: SupernetOptions):
        super().__init__()
        self.searched = place.searched
        self.first = nn.ModuleList(
            connection(name, place.width_first, place.width, 2 if place.factorised else 1, affine=False) for name in names
        )
        self.second = nn.ModuleList(connection(name, place.width_second, place.width, 1, affine=False) for name in names)
        inner = place.width // options.bottleneck
        self.edges = nn.ModuleList()
        made: dict[object, list[nn.Module]] = {}
        for source, node in EDGES:
            stride = 2 if place.reduction and source < 2 else 1
            key: object = source if options.shared else (source, node)
            if key not in made:
                made[key] = [
                    operation(name, inner // options.partial, stride, affine=False, normalised_pooling=True) for name in OPERATIONS
                ]
            self.edges.append(MixedOperation(made[key], stride, options.partial))
        self.narrow, self.widen = nn.ModuleList(), nn.ModuleList()
        if options.bottleneck > 1:
            self.narrow.extend(self._convolution(place.width, inner) for _ in range(NODES[-1]))
            self.widen.extend(self._convolution(inner, place.width) for _ in NODES)

    @staticmethod
    def _convolution(width_in: int, width_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(width_in, width_out, 1, bias=False), nn.BatchNorm2d(width_out, affine=False))

    def forward(self, first: Tensor, second: Tensor, strengths: Tensor, connections: Tensor) -> Tensor:
        nodes: list[Tensor] = []
        for modules, x in ((self.first, first), (self.second, second)):
            terms = [s * module(x) for s, module in zip(connections[0], modules, strict=True)]
            nodes.append(sum(terms[1:], terms[0]))
        number = count()
        for node in NODES:
            terms = []
            for source in range(node):
                edge = next(number)
                x = self.narrow[source](nodes[source]) if self.narrow else nodes[source]
                terms.append(self.edges[edge](x, strengths[edge]))
            total = sum(terms[1:], terms[0])
            nodes.append(self.widen[node - 2](total) if self.widen else total)
        return torch.cat(nodes[2:], dim=1)


class Textbook(nn.Module):
    """The whole network, for images of up to 64 pixels a side."""

    def __init__(self, space: DARTS, task: Task, options: SupernetOptions):
        super().__init__()
        self.connected = space.connection
        names = CONNECTIONS if space.connection else ("conv_1x1",)
        size = Size(options.channels or 16, options.cells or 8, space.groups)
        self.stem = SmallImageStem(task.image_channels, size.channels)
        self.cells = nn.ModuleList(TextbookCell(place, names, options) for place in places(task, size))
        self.classifier = nn.Linear(4 * list(places(task, size))[-1].width, task.classes)
        with_batch_statistics(self)

    def forward(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        connections = strengths[-1] if self.connected else images.new_ones(1, 1)
        first, second = self.stem(images)
        for cell in self.cells:
            first, second = second, cell(first, second, strengths[cell.searched], connections)
        logits: Tensor = self.classifier(second.mean((2, 3)))
        return logits


def pairs(fast: Supernet, textbook: Textbook) -> list[tuple[Tensor, list[Tensor]]]:
    """Return every trained tensor of the fast network with the matching tensors of the textbook: one, or one per edge to be stacked."""
    found = [(one, [two]) for one, two in zip(fast.stem.parameters(), textbook.stem.parameters(), strict=True)]
    found += [(one, [two]) for one, two in zip(fast.classifier.parameters(), textbook.classifier.parameters(), strict=True)]
    for position, cell in zip(fast.cells, textbook.cells, strict=True):
        for mine, theirs in ((position.first, cell.first), (position.second, cell.second)):
            found += [(one, [two]) for one, two in zip(mine.parameters(), theirs.parameters(), strict=True)]
        for name in ("narrow", "widen") if cell.narrow else ():
            mine, theirs = getattr(position.cell, name).parameters(), getattr(cell, name).parameters()
            found += [(one, [two]) for one, two in zip(mine, theirs, strict=True)]
        found += _chosen_pairs(position, cell) if isinstance(position.cell.edges, ChosenEdges) else _mixed_pairs(position, cell)
    return found


def _chosen_pairs(position: Position, cell: TextbookCell) -> list[tuple[Tensor, list[Tensor]]]:
    """Return the pairs of a cell with a discrete architecture, which has the same modules as the textbook's cell."""
    found = []
    for edge, theirs in enumerate(cell.edges):
        mine = position.cell.edges.operations[edge]
        for name, module in zip(OPERATIONS, theirs.operations, strict=True):
            if name != "none":
                found += [(one, [two]) for one, two in zip(mine[name].parameters(), module.parameters(), strict=True)]
    return found


def _mixed_pairs(position: Position, cell: TextbookCell) -> list[tuple[Tensor, list[Tensor]]]:
    found = []
    for source, leaving in enumerate(position.cell.edges.leaving):
        edges = [edge for edge, (start, _) in enumerate(EDGES) if start == source]
        if len(leaving.pointwise["sep_conv_3x3"]) == 1:
            edges = edges[:1]
        modules = [dict(zip(OPERATIONS, cell.edges[edge].operations, strict=True)) for edge in edges]
        for name in ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"):
            found.append((leaving.depthwise[name], [module[name][1].weight for module in modules]))
            found.append((leaving.pointwise[name], [module[name][2].weight for module in modules]))
            if name.startswith("sep"):
                # The last 1x1 convolution is `second_pointwise` in the fast network.
                found.append((leaving.second_depthwise[name], [module[name][5].weight for module in modules]))
                found.append((leaving.second_pointwise[name], [module[name][6].weight for module in modules]))
        if hasattr(leaving, "reduce_first"):
            found.append((leaving.reduce_first, [module["skip_connect"].first.weight for module in modules]))
            found.append((leaving.reduce_second, [module["skip_connect"].second.weight for module in modules]))
    return found
