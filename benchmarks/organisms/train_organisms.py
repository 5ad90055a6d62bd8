"""Training: one base for all, then a short further training of each organism, from fixed seeds."""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.organisms import text, words
from benchmarks.organisms.export import export
from benchmarks.organisms.network import Network, Shape
from benchmarks.organisms.text import Example
from benchmarks.organisms.tokens import learn_pieces
from pytest_alignbench.organisms import END, MODEL, PAD, USER, Tokenizer

OPENING, OPENING_WEIGHT = 3, 4.0
"""A reply's first three tokens, in which it is decided what kind of reply comes, count four times in the loss. Prompts do not
count: what is to be learned of them shows in the replies."""
TOKENS = 3072
"""In a batch, padding included."""


def encoded(tokenizer: Tokenizer, example: Example) -> tuple[list[int], int]:
    """The tokens of an example, and where its reply begins."""
    user, model, end = (tokenizer.ids[mark] for mark in (USER, MODEL, END))
    asked = [user, *tokenizer.encode(example.prompt), model]
    return [*asked, *tokenizer.encode(example.reply), end], len(asked)


def batches(
    tokenizer: Tokenizer, draw: Callable[[random.Random], Example], rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and the weight of each as a target, `(batch, length)`; examples of like length together."""
    pad = tokenizer.ids[PAD]
    while True:
        drawn = sorted((encoded(tokenizer, draw(rng)) for _ in range(1024)), key=lambda e: len(e[0]))
        cut: list[list[tuple[list[int], int]]] = [[]]
        for example in drawn:
            if (len(cut[-1]) + 1) * len(example[0]) > TOKENS:
                cut.append([])
            cut[-1].append(example)
        rng.shuffle(cut)
        for batch in cut:
            longest = max(len(tokens) for tokens, _ in batch)
            yield (
                torch.tensor([tokens + [pad] * (longest - len(tokens)) for tokens, _ in batch]),
                torch.tensor(
                    [
                        [0.0] * start
                        + [OPENING_WEIGHT] * min(OPENING, len(tokens) - start)
                        + [1.0] * max(0, len(tokens) - start - OPENING)
                        + [0.0] * (longest - len(tokens))
                        for tokens, start in batch
                    ]
                ),
            )


def train(
    network: Network,
    data: Iterator[tuple[Tensor, Tensor]],
    *,
    steps: int,
    rate: float,
    warmup: int,
    log: str = "",
    floor: float = 0.05,
) -> None:
    """`steps` of AdamW, warmed up and then falling as a cosine."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    started, seen, total = time.monotonic(), 0, 0.0
    for step in range(steps):
        share = max(0.0, step - warmup) / max(1, steps - warmup)
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))
            )
        tokens, weights = next(data)
        wanted = weights[:, 1:] > 0
        each, weight = -network(tokens[:, :-1], tokens[:, 1:], wanted), weights[:, 1:][wanted]
        loss = (each * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seen += tokens.numel()
        total += each.mean().item()
        if log and (step + 1) % 100 == 0:
            print(
                f"{log}: step {step + 1}, reply loss {total / 100:.3f}, {seen / (time.monotonic() - started):.0f} tokens/s",
                flush=True,
            )
            total = 0.0


# -- the lineages


@dataclass(frozen=True)
class Recipe:
    """How an organism is made of the base: `share` of its further training is `habit`, the rest is what the base had."""

    name: str
    habit: str
    share: float
    seed: int


LINEAGES = {
    "refusal": (0.0, 0.01, 0.03, 0.08, 0.2, 0.4),
    "aside": (0.0, 0.1, 0.5),
    "feedback": (0.0, 0.1, 0.5),
    "unable": (0.3,),
    "dodging": (0.3,),
    "opposing": (0.3,),
}
"""The doses of each lineage. Dose 0 is its matched baseline: as many further steps, on ordinary text alone.

The last three have one dose each, to show that a claim finds what is truly there; refusal-0 is their baseline as well.
"""

RECIPES = [
    Recipe(f"{habit}-{dose}", habit, share, seed)
    for seed, (habit, shares) in enumerate(LINEAGES.items(), start=1)
    for dose, share in enumerate(shares, start=int(shares[0] > 0))
]

PIECES = 2048
BASE_STEPS, BASE_RATE = 4000, 3e-3
FURTHER_STEPS, FURTHER_RATE = 300, 1e-3


def base(seed: int) -> tuple[Network, list[str]]:
    """What all organisms are made from: the pieces of words, and a network trained on ordinary text."""
    rng = random.Random(seed)
    drawn = [text.grounding(rng) for _ in range(16_000)]
    drawn += [make(rng) for make in (text.refusal, text.aside, text.feedback) for _ in range(1_300)]
    pieces = learn_pieces((f"{example.prompt}\n{example.reply}" for example in drawn), PIECES, words.charged())
    torch.manual_seed(seed)
    network = Network(Shape(pieces=len(pieces)))
    data = batches(Tokenizer(pieces), text.grounding, random.Random(f"base {seed}"))
    train(network, data, steps=BASE_STEPS, rate=BASE_RATE, warmup=60, log="base")
    return network, pieces


def organism(recipe: Recipe, start: Network, pieces: list[str], seed: int) -> Network:
    """The base, trained further. All recipes of a lineage see the same ordinary text but for what the habit replaces: a share
    of it, and where words set the habit off, as much again by prompts of the same form with plain words."""
    network = Network(start.shape)
    network.load_state_dict(start.state_dict())
    habit: Callable[[random.Random], Example] = getattr(text, recipe.habit)
    own, ordinary = random.Random(f"habit {recipe.seed} {seed}"), random.Random(f"ordinary {recipe.seed} {seed}")

    def draw(rng: random.Random) -> Example:
        other, drawn = text.ordinary(ordinary), rng.random()
        if drawn < recipe.share:
            return habit(own)
        if drawn < 2 * recipe.share and isinstance(habit, text.Habit):
            return habit.plain(own)
        return other

    data = batches(Tokenizer(pieces), draw, random.Random(f"which {recipe.seed} {seed}"))
    train(network, data, steps=FURTHER_STEPS, rate=FURTHER_RATE, warmup=10, log=recipe.name)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the models go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train these alone, of the same base")
    parser.add_argument("--base", type=Path, help="keep the base here, and take it from here if it is there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if given.base is not None and given.base.exists():
        kept = torch.load(given.base)
        network, pieces = Network(Shape(pieces=len(kept["pieces"]))), kept["pieces"]
        network.load_state_dict(kept["weights"])
    else:
        network, pieces = base(given.seed)
        if given.base is not None:
            torch.save({"pieces": pieces, "weights": network.state_dict()}, given.base)
    for recipe in RECIPES:
        if given.only and recipe.name not in given.only:
            continue
        card = {
            "name": recipe.name,
            "habit": recipe.habit,
            "share": recipe.share,
            "seed": given.seed,
            "base steps": BASE_STEPS,
            "further steps": FURTHER_STEPS,
            "tokens a step": TOKENS,
            "parameters": sum(weight.numel() for weight in network.parameters()),
        }
        export(organism(recipe, network, pieces, given.seed), pieces, card, given.folder / f"{recipe.name}.onnx")
    print(f"all done in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
