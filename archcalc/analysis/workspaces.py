"""What a training or inference on a GPU takes beside its tensors: the context, and workspaces of libraries.

None of it follows from the network alone, so each is a term of its own with an interval, never part of another figure.
`docs/explanation/memory.md` has the sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from archcalc.analysis.cards import Card
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.memory_trace import Size
from archcalc.analysis.report import MODES, Report
from archcalc.graph.graph import Graph

CONTEXT = 200 * 10**6, 1000 * 10**6  # bytes: from 200 MB in today's versions to 1 GB before CUDA 11.7
CUBLAS = {"Hopper": 32 * 2**20, "Blackwell": 32 * 2**20}  # bytes of a workspace by architecture
CUBLAS_ELSEWHERE = 8_519_680  # 2 · 4 MiB + 8 · 16 KiB
CUBLASLT = 2**20
MEASURED = "Hopper", "2.11"  # the architecture and version of PyTorch of our records
WORKING = "inference", "forward", "backward"  # phases in which convolutions run
CUDNN_MOST = (16, 128 * 2**20), (2, 512 * 2**20)  # times a convolution's tensors, up to so many bytes


class Term(NamedTuple):
    """Bytes from `low` to `high`. `usual` is the most frequent amount in our records, None if there are none."""

    name: str
    low: int
    usual: int | None
    high: int
    lasts: str
    why: str


class Libraries(NamedTuple):
    """What libraries allocate: bytes of one workspace of cuBLAS; and sizes of convolutions' tensors, for cuDNN."""

    cublas: int
    products: set[int]  # nodes that use cuBLAS
    convolutions: Mapping[int, Size]


def libraries_of(graph: Graph, dtype: str, card: Card | None) -> Libraries:
    """Return what libraries allocate at most, on a card or without one on any."""
    own, one = DTYPES[dtype], max(CUBLAS.values())
    if card:
        one = CUBLAS.get(card.architecture, CUBLAS_ELSEWHERE)
    sizes = {
        i: (own * sum(map(prod, node.op.weights(node.x).values())), own * (prod(node.x) + prod(node.output)))
        for i, node in enumerate(graph.nodes)
        if node.op.name.startswith("conv")
    }
    return Libraries(one, {i for i, node in enumerate(graph.nodes) if node.op.name == "linear"}, sizes)


def workspace_terms(report: Report, card: Card | None = None, torch: str = "") -> tuple[Term, Term, Term]:
    """Return the terms for the context, cuBLAS and cuDNN; `torch` is PyTorch's version, if it is known.

    What matrix products of linear layers keep is a workspace per thread, and one for products with a bias: the backward
    pass has a thread of its own. Newer versions of PyTorch share or free them. A convolution most often needs copies of
    its tensors with their channels last. For autocast take a report of bfloat16: convolutions run in it.
    """
    own = libraries_of(report.ran, report.dtype, card)
    kept = (own.cublas * (1 + MODES[report.mode]) + CUBLASLT) * bool(own.products)
    known = card and (card.architecture, ".".join(torch.split(".")[:2])) == MEASURED
    one = max((fixed + report.batch * each for fixed, each in own.convolutions.values()), default=0)
    most = cudnn_most(one) if one else 0
    return (
        Term(
            "CUDA context", CONTEXT[0], None, CONTEXT[1], "always", "kernels and the driver's own, not in the allocator"
        ),
        Term("cuBLAS", kept if known else 0, kept, kept, "from the first linear layer on", "matrix products"),
        Term("cuDNN", 0, one, most, "during one convolution", "its largest convolution"),
    )


def most_in(phase: str, terms: Sequence[Term]) -> int:
    """Return the most bytes of workspaces in a phase of a step; of cuDNN there are none where no convolution runs."""
    _, cublas, cudnn = terms
    return cublas.high + cudnn.high * (phase in WORKING)


def cudnn_most(tensors: int) -> int:
    """Return the most bytes of a convolution's workspace; `tensors` are those of its input, output and weights.

    A quarter more, or almost, than any in our records: 11 times for tensors below 8 MiB, 104 MiB below 64 MiB, 1.50
    times up to 256 MiB, 1.14 times above.
    """
    return max(3 * tensors // 2, *(min(times * tensors, most) for times, most in CUDNN_MOST))
