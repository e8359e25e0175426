"""einsum by permutations, reshapes and one batched matmul per pair of operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpudl.autograd.tensor import Tensor
from gpudl.core.public import public


@public("gpudl")
def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products in index notation: einsum("bij,bjk->bik", a, b) is a batched product.

    Letters missing from the result are summed over; a letter repeated in an operand takes its
    diagonal; "..." stands for any further axes. These and extents of 1 broadcast. Without "->" the
    result has the letters that occur once, sorted. Operands are multiplied from left to right.
    Raises ValueError if the equation does not fit the operands.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    terms, output = parse(equation, [x.ndim for x in operands])
    extents = _extents(equation, terms, operands)
    tensors = [_diagonals(x, term) for x, term in zip(operands, terms, strict=True)]
    letters = ["".join(dict.fromkeys(term)) for term in terms]
    x, left = tensors[0], letters[0]
    for i in range(1, len(tensors)):
        later = set(output).union(*letters[i + 1 :])
        x, left = _pair(x, left, tensors[i], letters[i], later, extents)
    x, left = _sum_out(x, left, set(output))
    x = x.permute([left.index(c) for c in output if c in left])
    for axis, letter in enumerate(output):
        if letter not in left:
            x = x.unsqueeze(axis)
    return x


def parse(equation: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """Letters of each operand and of the result; axes of "..." get capital Greek letters."""
    compact = equation.replace(" ", "")
    left, arrow, right = compact.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operands, not {len(ndims)}")
    if "." in compact.replace("...", "") or any(t.count("...") > 1 for t in (*terms, right)):
        raise ValueError(f"einsum: {equation!r}: '...' may occur only once per operand")
    if not all(
        c.isascii() and c.isalpha() for c in compact.translate(str.maketrans("", "", ".,->"))
    ):
        raise ValueError(f"einsum: {equation!r} may only contain letters, ',', '...' and '->'")
    hidden = [n - len(t.replace("...", "")) for t, n in zip(terms, ndims, strict=True)]
    for number, (term, extra) in enumerate(zip(terms, hidden, strict=True)):
        if extra < 0 or (extra and "..." not in term):
            raise ValueError(
                f"einsum: operand {number} has {ndims[number]} axes, but {equation!r} gives it "
                f"{term!r}"
            )
    dots = [extra for t, extra in zip(terms, hidden, strict=True) if "..." in t]
    most = max(dots, default=0)
    names = "".join(chr(0x391 + i) for i in range(most))
    terms = [
        t.replace("...", names[most - extra :]) for t, extra in zip(terms, hidden, strict=True)
    ]
    if arrow:
        right = right.replace("...", names)
    else:
        seen = "".join(terms)
        right = names + "".join(sorted(c for c in set(seen) - set(names) if seen.count(c) == 1))
    if len(set(right)) < len(right) or set(right) - set("".join(terms)):
        raise ValueError(
            f"einsum: {equation!r}: letters of the result must be unique and occur on the left"
        )
    return terms, right


def _extents(equation: str, terms: list[str], operands: Sequence[Tensor]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for number, (term, x) in enumerate(zip(terms, operands, strict=True)):
        for letter, extent in zip(term, x.shape, strict=True):
            known = extents.setdefault(letter, extent)
            if known == 1:
                extents[letter] = extent
            elif extent not in (1, known):
                raise ValueError(
                    f"einsum: {equation!r}: operand {number} {list(x.shape)} has extent {extent} "
                    f"where another has {known}"
                )
    return extents


def _diagonals(x: Tensor, term: str) -> Tensor:
    """Replace the axes of each repeated letter by their diagonal, in place of the first."""
    seen = list(term)
    for letter in dict.fromkeys(term):
        while seen.count(letter) > 1:
            first = seen.index(letter)
            second = seen.index(letter, first + 1)
            n = x.shape[first]
            if x.shape[second] != n:
                raise ValueError(
                    f"einsum: {term!r} repeats {letter!r} on unequal axes of {list(x.shape)}"
                )
            seen.pop(second)
            x = x.movedim(second, first + 1)
            shape = x.shape
            x = x.reshape((*shape[:first], n * n, *shape[first + 2 :]))
            x = x[(slice(None),) * first + (slice(None, None, n + 1),)]
    return x


def _sum_out(x: Tensor, letters: str, keep: set[str]) -> tuple[Tensor, str]:
    drop = [i for i, c in enumerate(letters) if c not in keep]
    return (x.sum(drop) if drop else x), "".join(c for c in letters if c in keep)


def _pair(
    a: Tensor, a_letters: str, b: Tensor, b_letters: str, later: set[str], extents: dict[str, int]
) -> tuple[Tensor, str]:
    """Multiply two operands and sum over their common letters that nothing later needs."""
    a, a_letters = _sum_out(a, a_letters, later | set(b_letters))
    b, b_letters = _sum_out(b, b_letters, later | set(a_letters))
    both = [c for c in a_letters if c in b_letters]
    batch = [c for c in both if c in later]
    summed = [c for c in both if c not in later]
    rows = [c for c in a_letters if c not in both]
    columns = [c for c in b_letters if c not in both]
    a = _as_matrices(a, a_letters, (batch, rows, summed), extents)
    b = _as_matrices(b, b_letters, (batch, summed, columns), extents)
    product = a.matmul(b) if summed else a * b
    letters = "".join((*batch, *rows, *columns))
    return product.reshape([extents[c] for c in letters]), letters


def _as_matrices(
    x: Tensor, letters: str, groups: tuple[list[str], ...], extents: dict[str, int]
) -> Tensor:
    """x with its axes in the order of groups, each group merged into one axis."""
    order = [letters.index(c) for group in groups for c in group]
    x = x.permute(order).expand([extents[c] for group in groups for c in group])
    shape = []
    for group in groups:
        extent = 1
        for c in group:
            extent *= extents[c]
        shape.append(extent)
    return x.reshape(shape)
