"""Somebody else's text inside a prompt of ours: put there to be read, unable to pass for our own words.

    frame = Frame.drawn(reply)              a nonce that nobody could know, and that the reply does not contain
    frame.put("reply", reply)               <reply_3f9a61c0>
                                            … the reply, made visible, its middle left out where it is huge …
                                            </reply_3f9a61c0>

The text ends where the frame says and nowhere else, because its writer could not write the end. What looks like one of
our delimiters, whatever its nonce, is taken apart besides. That a text cannot break out does not make it harmless to
a model that reads it: the prompt around it has to say that it is data.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Self

from pytest_alignbench.text import visible

_LOOKALIKE = re.compile(r"<(?=\s*/?\s*[a-z]{1,20}_[0-9a-f]{8}\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """The delimiters of one call to a model. `nonce`: 8 hex digits, drawn for this call alone."""

    nonce: str

    @classmethod
    def drawn(cls, *texts: str) -> Self:
        """A frame whose nonce stands in none of `texts`."""
        while True:
            nonce = secrets.token_hex(4)
            if not any(nonce in text.lower() for text in texts):
                return cls(nonce)

    def put(self, name: str, text: str, *, limit: int = 12_000) -> str:
        """`text` between the delimiters called `name`, with at most `limit` characters of it shown."""
        shown = _LOOKALIKE.sub("&lt;", visible(without_middle(text, limit=limit)))
        return f"<{name}_{self.nonce}>\n{shown}\n</{name}_{self.nonce}>"


def without_middle(text: str, *, limit: int) -> str:
    """`text`, or its first two and its last third of `limit` characters with the number left out said between them."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    head = limit - tail
    return f"{text[:head]}\n[… {len(text) - limit:,} characters left out here …]\n{text[-tail:]}"
