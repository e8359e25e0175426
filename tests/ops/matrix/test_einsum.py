"""einsum against PyTorch, values and gradients."""

import numpy as np
import pytest

import gpudl

EQUATIONS = {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "ii->i": ((4, 4),),
    "ii": ((4, 4),),
    "iii->i": ((3, 3, 3),),
    "iij->j": ((3, 3, 2),),
    "ij->ji": ((3, 4),),
    "ba": ((3, 4),),
    "i,j->ij": ((3,), (4,)),
    "ij,ij->": ((3, 4), (3, 4)),
    "...ij,...jk->...ik": ((2, 1, 3, 4), (5, 4, 6)),
    "i...,j...->ij...": ((2, 3), (4, 3)),
    "...a->...": ((2, 3, 4),),
    "bhqd,bhkd->bhqk": ((2, 3, 4, 5), (2, 3, 6, 5)),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 5)),
    "ba,cad->": ((2, 3), (4, 3, 2)),
    "ab,b->a": ((3, 1), (4,)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_agrees_with_pytorch(equation):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in EQUATIONS[equation]]
    ours = [gpudl.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = gpudl.einsum(equation, *ours), torch.einsum(equation, *theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    y.backward(gpudl.tensor(dy))
    z.backward(torch.tensor(dy))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk", ((2, 3),), "names 2 operands, not 1"),
        ("ij,jk->ik", ((2, 3), (4, 5)), "operand 1 .* has extent 4 where another has 3"),
        ("i->j", ((2,),), "and occur on the left"),
        ("ij->i", ((2,),), "operand 0 has 1 axes"),
        ("i1->i", ((2, 2),), "may only contain letters"),
        ("ii->i", ((2, 3),), "has extent 3 where another has 2"),
        ("..i->i", ((2,),), "only once per operand"),
    ],
)
def test_bad_equations_are_refused(equation, shapes, message):
    with pytest.raises(ValueError, match=message):
        gpudl.einsum(equation, *[gpudl.tensor(np.zeros(s, np.float32)) for s in shapes])
