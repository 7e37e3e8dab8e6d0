"""The nearest known word to one that is not known.  Pure."""

from __future__ import annotations

from collections.abc import Iterable


def nearest_name(word: str, known: Iterable[str]) -> str | None:
    """The known word a typing error away, or None."""
    best, least = None, max(1, len(word) // 3) + 1
    for candidate in known:
        if abs(len(candidate) - len(word)) < least:
            distance = _distance(word.lower(), candidate.lower())
            if distance < least:
                best, least = candidate, distance
    return best


def _distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and b == one[i - 2]:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
