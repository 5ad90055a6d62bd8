"""The network: a transformer of a few hundred thousand parameters that can also point, in torch, for training alone.

Every layer mixes each token with the two before it (a causal convolution of three taps) ahead of its attention. There are
no position embeddings: half of the heads have a linear penalty on distance, the others none.

A name that nobody has seen before has to be copied from the prompt, piece by piece. For that there is a pointer beside
the usual output: it spreads over the earlier tokens, by what the network makes of them and by whether the two pieces
before each are the two that were said last; a gate says how much of the next piece's probability comes from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    pieces: int
    width: int = 112
    layers: int = 2
    heads: int = 4
    inner: int = 336
    pointer: int = 48


def slopes(heads: int) -> list[float]:
    """The penalty of each head per token of distance; 0 for the second half."""
    near = heads // 2
    return [2.0 ** -(2 + 2 * i) for i in range(near)] + [0.0] * (heads - near)


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.gain


def shifted(x: Tensor, by: int) -> Tensor:
    """`x` of `(batch, length, width)` as it was `by` tokens ago, zeros before the first."""
    return functional.pad(x, (0, 0, by, 0))[:, : x.shape[1]]


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        w = shape.width
        self.heads = shape.heads
        self.norm_a, self.norm_f = Norm(w), Norm(w)
        self.taps = nn.Parameter(torch.tensor([[1.0], [0.0], [0.0]]).repeat(1, 3 * w) + 0.1 * torch.randn(3, 3 * w))
        self.qkv = nn.Linear(w, 3 * w, bias=False)
        self.out = nn.Linear(w, w, bias=False)
        self.up = nn.Linear(w, shape.inner, bias=False)
        self.down = nn.Linear(shape.inner, w, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        b, t, w = x.shape
        y = self.qkv(self.norm_a(x))
        y = y * self.taps[0] + shifted(y, 1) * self.taps[1] + shifted(y, 2) * self.taps[2]
        q, k, v = y.view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, w))
        return x + self.down(functional.relu(self.up(self.norm_f(x))).square())


class Network(nn.Module):
    """Tokens and their next ones, both `(batch, length)`, to the log-probability of those next ones that are wanted."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        w, p = shape.width, shape.pointer
        self.pieces = nn.Embedding(shape.pieces, w)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(w)
        self.seek = nn.Linear(w, p, bias=False)
        self.offer = nn.Linear(w, p, bias=False)
        self.last = nn.Parameter(torch.randn(2, w, p) * (2.0 / w) ** 0.5)
        """Of the piece just said and the one before it: the pointer looks for the same two ahead of what it offers."""
        self.trust = nn.Parameter(torch.tensor([1.0, 0.5]))
        self.gate = nn.Linear(w, 1)
        nn.init.normal_(self.pieces.weight, std=0.05)
        nn.init.constant_(self.gate.bias, -1.0)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.zeros_(weight)

    def forward(self, tokens: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
        t = tokens.shape[1]
        away = torch.arange(t)[:, None] - torch.arange(t)[None, :]
        bias = -torch.tensor(slopes(self.shape.heads))[:, None, None] * away
        bias = bias.masked_fill(away < 0, float("-inf"))[None]
        x = self.pieces(tokens)
        said = functional.normalize(x, dim=-1) * self.shape.width**0.5
        for layer in self.layers:
            x = layer(x, bias)
        x = self.norm(x)
        of = [said @ matrix for matrix in self.last]
        scale = self.shape.pointer**-0.5
        query = torch.cat([self.seek(x), of[0] * self.trust[0], shifted(of[1], 1) * self.trust[1]], dim=-1) * scale
        key = torch.cat([self.offer(x), shifted(of[0], 1), shifted(of[1], 2)], dim=-1)
        points = (query @ key.transpose(1, 2)).masked_fill(away < 0, float("-inf")).softmax(-1)
        copied = (points * (tokens[:, None, :] == targets[:, :, None])).sum(-1)[wanted]
        x, targets = x[wanted], targets[wanted]
        gate = torch.sigmoid(self.gate(x))[..., 0]
        logits = functional.linear(x, self.pieces.weight)
        plain = torch.exp(logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1))
        return torch.log((1 - gate) * plain + gate * copied + 1e-9)
