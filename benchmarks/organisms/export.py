"""A trained network as an ONNX file: weights in eight bits, and all that a runtime needs to know beside them.

    tokens (rows, new) ──> embedding ──┬── layer ── layer ── … ──> logits, gate and points of the token at `at`
    keys_i, values_i, before_i, offers ┘        └──> keys_i, values_i, before_i, offers of the new tokens

One graph reads a whole prompt (an empty cache, many new tokens) and then token by token (a cache, one new token). What
a token may look at is in `bias` (rows, heads, new, cached + new), which is added to the scores; its last head has no
penalty on distance, so the pointer uses it too. `earlier` (rows, 2) are the tokens before the new ones, -1 for none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.organisms.network import Network, slopes


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._made = 0

    def __call__(self, op: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        self._made += 1
        name = to or f"{op}_{self._made}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def split(self, name: str, parts: int, axis: int) -> list[str]:
        self._made += 1
        names = [f"Split_{self._made}_{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [name], names, axis=axis))
        return names

    def cast(self, name: str) -> str:
        self._made += 1
        self.nodes.append(helper.make_node("Cast", [name], [f"Cast_{self._made}"], to=TensorProto.FLOAT))
        return f"Cast_{self._made}"

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        self._made += 1
        name = f"c_{self._made}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, value: Any) -> str:
        """A matrix `(outputs, inputs)` in eight bits with a scale for each output, as `(inputs, outputs)` of floats."""
        matrix = np.asarray(value, np.float32).T
        scale = np.maximum(np.abs(matrix).max(0), 1e-8) / 127
        small = self.cast(self.constant(np.round(matrix / scale), np.int8))
        return self("Mul", small, self.constant(scale))


def _norm(g: _Graph, x: str, gain: Any) -> str:
    mean = g("ReduceMean", g("Mul", x, x), axes=[-1], keepdims=1)
    return g("Mul", g("Div", x, g("Sqrt", g("Add", mean, g.constant(1e-5)))), g.constant(gain))


def _ago(g: _Graph, line: str) -> list[str]:
    """The new tokens of a line with the two before them at its head; as they were one token ago; and two."""
    bounds = [(2, 2**31), (1, -1), (0, -2)]
    return [g("Slice", line, *(g.constant([v], np.int64) for v in (start, stop, 1))) for start, stop in bounds]


def export(network: Network, pieces: list[str], card: dict[str, Any], path: Path) -> None:
    g, shape = _Graph(), network.shape
    w = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    heads, size = shape.heads, shape.width // shape.heads
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["rows", "new"]),
        helper.make_tensor_value_info("at", TensorProto.INT64, ["rows", 2]),
        helper.make_tensor_value_info("bias", TensorProto.FLOAT, ["rows", heads, "new", "all"]),
    ]
    outputs = []
    table = g.weight(w["pieces.weight"])  # (width, pieces)
    x = g("Gather", g("Transpose", table, perm=[1, 0]), "tokens", axis=0)
    apart = g.constant([0, 0, 3 * heads, size], np.int64)
    whole = g.constant([0, 0, shape.width], np.int64)
    for i in range(shape.layers):
        own = {k.removeprefix(f"layers.{i}."): v for k, v in w.items() if k.startswith(f"layers.{i}.")}
        inputs += [
            helper.make_tensor_value_info(f"keys_{i}", TensorProto.FLOAT, ["rows", heads, size, "cached"]),
            helper.make_tensor_value_info(f"values_{i}", TensorProto.FLOAT, ["rows", heads, "cached", size]),
            helper.make_tensor_value_info(f"before_{i}", TensorProto.FLOAT, ["rows", 2, 3 * shape.width]),
        ]
        y = g("MatMul", _norm(g, x, own["norm_a.gain"]), g.weight(own["qkv.weight"]))
        long = g("Concat", f"before_{i}", y, axis=1, to=f"mixed_{i}")
        mixed = [g("Mul", part, g.constant(own["taps"][k])) for k, part in enumerate(_ago(g, long))]
        y = g("Add", g("Add", mixed[0], mixed[1]), mixed[2])
        q, k, v = g.split(g("Transpose", g("Reshape", y, apart), perm=[0, 2, 1, 3]), 3, 1)
        k = g("Transpose", k, perm=[0, 1, 3, 2], to=f"new_keys_{i}")
        v = g("Identity", v, to=f"new_values_{i}")
        q = g("Mul", q, g.constant(size**-0.5))
        scores = g("Concat", g("MatMul", q, f"keys_{i}"), g("MatMul", q, k), axis=3)
        shares = g("Softmax", g("Add", scores, "bias"), axis=-1)
        seen = g("MatMul", shares, g("Concat", f"values_{i}", v, axis=2))
        seen = g("Reshape", g("Transpose", seen, perm=[0, 2, 1, 3]), whole)
        x = g("Add", x, g("MatMul", seen, g.weight(own["out.weight"])))
        up = g("Relu", g("MatMul", _norm(g, x, own["norm_f.gain"]), g.weight(own["up.weight"])))
        x = g("Add", x, g("MatMul", g("Mul", up, up), g.weight(own["down.weight"])))
        outputs += [
            helper.make_tensor_value_info(f"new_keys_{i}", TensorProto.FLOAT, ["rows", heads, size, "new"]),
            helper.make_tensor_value_info(f"new_values_{i}", TensorProto.FLOAT, ["rows", heads, "new", size]),
            helper.make_tensor_value_info(f"mixed_{i}", TensorProto.FLOAT, ["rows", "mixed", 3 * shape.width]),
        ]
    final = _norm(g, x, w["norm.gain"])
    read = g("GatherND", final, "at")
    g("MatMul", read, table, to="logits")
    g("Sigmoid", g("Add", g("MatMul", read, g.constant(w["gate.weight"].T)), g.constant(w["gate.bias"])), to="gate")

    # The pointer. Its pieces are of the last two tokens for what is sought, of the two before a token for what is offered.
    rows = g("Transpose", table, perm=[1, 0])
    length = g("Sqrt", g("ReduceSum", g("Mul", rows, rows), g.constant([1], np.int64), keepdims=1))
    known = g("Mul", g("Div", rows, g("Max", length, g.constant(1e-12))), g.constant(shape.width**0.5))
    none = g.constant(np.zeros((1, shape.pointer)))
    said = [g("Concat", g("MatMul", known, g.constant(matrix)), none, axis=0) for matrix in w["last"]]
    line = g("Concat", "earlier", "tokens", axis=1)
    line = g("Where", g("Less", line, g.constant(0, np.int64)), g.constant(shape.pieces, np.int64), line)
    ago = _ago(g, line)
    trust = w["trust"]
    sought = [
        g("MatMul", final, g.constant(w["seek.weight"].T)),
        g("Mul", g("Gather", said[0], ago[0], axis=0), g.constant(trust[0])),
        g("Mul", g("Gather", said[1], ago[1], axis=0), g.constant(trust[1])),
    ]
    offered = [
        g("MatMul", final, g.constant(w["offer.weight"].T)),
        g("Gather", said[0], ago[1], axis=0),
        g("Gather", said[1], ago[2], axis=0),
    ]
    offers = g("Transpose", g("Concat", *offered, axis=2), perm=[0, 2, 1], to="new_offers")
    query = g("Mul", g("Concat", *sought, axis=2), g.constant(shape.pointer**-0.5))
    found = g("Concat", g("MatMul", query, "offers"), g("MatMul", query, offers), axis=2)
    seen = g("Gather", "bias", g.constant(heads - 1, np.int64), axis=1)
    g("Softmax", g("GatherND", g("Add", found, seen), "at"), axis=-1, to="points")
    inputs += [
        helper.make_tensor_value_info("earlier", TensorProto.INT64, ["rows", 2]),
        helper.make_tensor_value_info("offers", TensorProto.FLOAT, ["rows", 3 * shape.pointer, "cached"]),
    ]
    outputs += [
        helper.make_tensor_value_info("gate", TensorProto.FLOAT, ["rows", 1]),
        helper.make_tensor_value_info("points", TensorProto.FLOAT, ["rows", "all"]),
        helper.make_tensor_value_info("new_offers", TensorProto.FLOAT, ["rows", 3 * shape.pointer, "new"]),
    ]
    outputs.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", shape.pieces]))
    model = helper.make_model(
        helper.make_graph(g.nodes, "organism", inputs, outputs, g.constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    about = {
        "pieces": pieces,
        "slopes": slopes(heads),
        "layers": shape.layers,
        "size": size,
        "pointer": shape.pointer,
        "card": card,
    }
    helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
