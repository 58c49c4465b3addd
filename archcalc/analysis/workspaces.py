"""What a training or inference on a GPU takes beside its tensors: the context, and workspaces of libraries.

None of it follows from the network alone, so each is a term of its own with an interval, never part of another figure.
`docs/explanation/memory.md` has the sources.
"""

from __future__ import annotations

from typing import NamedTuple

from archcalc.analysis.cards import Card
from archcalc.analysis.cost import bytes_moved
from archcalc.analysis.report import MODES, Report

CONTEXT = 200 * 10**6, 1000 * 10**6  # bytes: from 200 MB in today's versions to 1 GB before CUDA 11.7
CUBLAS = {"Hopper": 32 * 2**20, "Blackwell": 32 * 2**20}  # bytes of a workspace by architecture
CUBLAS_ELSEWHERE = 8_519_680  # 2 · 4 MiB + 8 · 16 KiB
CUBLASLT = 2**20
MEASURED = "Hopper", "2.11"  # the architecture and version of PyTorch of our records
CUDNN_SMALL, CUDNN_LARGE = 128 * 2**20, 512 * 2**20  # bytes of workspaces; see `cudnn_most`


class Term(NamedTuple):
    """Bytes from `low` to `high`. `usual` is the most frequent amount in our records, None if there are none."""

    name: str
    low: int
    usual: int | None
    high: int
    lasts: str
    why: str


def workspace_terms(report: Report, card: Card, torch: str = "") -> tuple[Term, Term, Term]:
    """Return the terms for the context, cuBLAS and cuDNN; `torch` is PyTorch's version, if it is known.

    For autocast take a report of bfloat16: convolutions run in it.
    """
    return _context(), _cublas(report, card, torch), _cudnn(report)


def _context() -> Term:
    low, high = CONTEXT
    return Term("CUDA context", low, None, high, "always", "kernels and the driver's own; outside of the allocator")


def _cublas(report: Report, card: Card, torch: str) -> Term:
    """Return what matrix products of linear layers keep: a workspace per thread, and one for products with a bias.

    The backward pass runs in a thread of its own, so training has two. Newer versions of PyTorch share or free them.
    """
    one = CUBLAS.get(card.architecture, CUBLAS_ELSEWHERE)
    uses = any(node.op.name == "linear" for node in report.ran.nodes)
    kept = (one * (1 + MODES[report.mode]) + CUBLASLT) * uses
    version = ".".join(torch.split(".")[:2])
    low = kept if (card.architecture, version) == MEASURED else 0
    return Term("cuBLAS", low, kept, kept, "from the first linear layer on", "workspaces of matrix products")


def _cudnn(report: Report) -> Term:
    """Return what one convolution needs at a time: most often copies of its tensors with their channels last."""
    one = max((bytes_moved(run) for run in report.runs if run.node.op.name.startswith("conv")), default=0)
    most = cudnn_most(one) if one else 0
    return Term("cuDNN", 0, one, most, "during one convolution", "workspace of its largest convolution")


def cudnn_most(tensors: int) -> int:
    """Return the most bytes of a convolution's workspace; `tensors` are those of its input, output and weights.

    A quarter more, or almost, than any in our records: 104 MiB for tensors below 64 MiB, 1.50 times up to 256 MiB, 1.14
    times above.
    """
    return max(CUDNN_SMALL, min(2 * tensors, CUDNN_LARGE), 3 * tensors // 2)
