"""The small network of digits201 as an ONNX graph for deployment. It is used to measure latency, and built without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from budgetnas.spaces.nasbench201.order import EDGES
from budgetnas.spaces.nasbench201.small_network import CHANNELS, DIGITS201, KERNELS, POOLING, SIDES, live_edges

OPSET = 17
_IR_VERSION = 8  # supported by readers of that opset
_WEIGHT_SEED = 0


class _Graph:
    """The nodes and weights of a graph. Each method adds some and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._rng = np.random.default_rng(_WEIGHT_SEED)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def convolution(self, x: str, kernel: int, narrow: int, wide: int) -> str:
        """Add a convolution, with the normalisation after it folded into weights and bias."""
        bound = 1 / np.sqrt(kernel * kernel * narrow)
        weights = self._rng.uniform(-bound, bound, (wide, narrow, kernel, kernel))
        bias = self._rng.uniform(-bound, bound, wide)
        return self.add("Conv", x, self.weight(weights), self.weight(bias), kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4)

    def normalisation(self, x: str, channels: int) -> str:
        """Add the only normalisation that does not follow a convolution, as a scale and a shift."""
        scaled = self.add("Mul", x, self.weight(np.ones((1, channels, 1, 1))))
        return self.add("Add", scaled, self.weight(np.zeros((1, channels, 1, 1))))

    def cell(self, x: str, genes: Sequence[int], channels: int) -> str:
        """Add a cell. A node without an input is the cell's input times zero, as in the networks of NAS-Bench-201."""
        nodes: list[str | None] = [x, None, None, None]
        rectified: dict[int, str] = {}
        for edge in live_edges(genes):
            source, target = EDGES[edge]
            value = nodes[source] or self._zero(x)
            if genes[edge] in KERNELS:
                if source not in rectified:
                    rectified[source] = self.add("Relu", value)
                value = self.convolution(rectified[source], KERNELS[genes[edge]], channels, channels)
            elif genes[edge] == POOLING:
                value = self.add("AveragePool", value, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            held = nodes[target]
            nodes[target] = self.add("Add", held, value) if held else value
        return nodes[3] or self._zero(x)

    def _zero(self, x: str) -> str:
        return self.add("Mul", x, self.weight(0.0))


def onnx_model(genes: Sequence[int]) -> bytes:
    """Return the network of a cell as a serialised ONNX model, with the input `image` (1, 1, 8, 8), one output (1, 10), and random weights.

    As in any export for inference, batch normalisation is folded into the convolutions, and edges with an unused output are left out.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    x = graph.cell(graph.convolution("image", 1, DIGITS201.image_channels, CHANNELS[0]), genes, CHANNELS[0])
    x = graph.add("Relu", graph.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = graph.cell(graph.convolution(x, 1, *CHANNELS), genes, CHANNELS[1])
    x = graph.add("Relu", graph.normalisation(x, CHANNELS[1]))
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    x = graph.add("Gemm", x, graph.weight(np.full((CHANNELS[1], DIGITS201.classes), 0.1)), graph.weight(np.zeros(DIGITS201.classes)))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, DIGITS201.image_channels, SIDES[0], SIDES[0]])
    logits = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, DIGITS201.classes])
    described = helper.make_graph(graph.nodes, "digits201", [image], [logits], graph.weights)
    model = helper.make_model(described, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())
