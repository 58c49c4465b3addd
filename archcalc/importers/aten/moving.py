"""Functions that move values, or make them of nothing: no arithmetic. What is read twice has a sum as gradient."""

from __future__ import annotations

from collections.abc import Mapping

from archcalc.importers.aten.call import NONE, AtenCall, Facts, Rule, tables
from archcalc.ops.base import Work

PLAIN = """
view reshape flatten unflatten ravel transpose transpose_ t numpy_T permute movedim moveaxis
swapaxes swapdims select slice narrow unsqueeze unsqueeze_ squeeze squeeze_ unbind split split_with_sizes chunk
unsafe_split unsafe_split_with_sizes unsafe_chunk view_as_real view_as_complex real imag
tensor_split hsplit vsplit dsplit diagonal diag_embed _unsafe_view _reshape_alias resize_as_
cat concat concatenate stack hstack vstack dstack roll flip fliplr flipud rot90 constant_pad_nd tril triu tril_
triu_ pixel_shuffle pixel_unshuffle channel_shuffle im2col native_channel_shuffle zero_ fill_ index_fill index_fill_
index_copy index_copy_ select_scatter slice_scatter max_unpool2d max_unpool3d nll_loss_forward nll_loss2d_forward
"""
REPEATED = "expand broadcast_to meshgrid broadcast_tensors repeat tile"  # sums over the repetitions
CHOICES = """
index gather take_along_dim index_select repeat_interleave embedding unfold reflection_pad1d reflection_pad2d
reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
"""
MADE = """
arange zeros ones full empty eye linspace scalar_tensor rand randn randint randperm tril_indices triu_indices
zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty
new_empty_strided empty_strided one_hot nonzero bernoulli_ normal_ uniform_ exponential_ bernoulli normal argwhere
_assert_async _assert_tensor_metadata sym_size sym_numel is_nonzero
"""


def _moved(call: AtenCall) -> Facts:
    return Facts(gradients=(NONE,) * len(call.tensors))


def _repeated(call: AtenCall) -> Facts:
    """Return a sum over the repetitions as the gradient, of each tensor."""
    pairs = zip(call.tensors, call.made, strict=False)
    gradients = [{"add": made.values - one.values} if made.values > one.values else NONE for one, made in pairs]
    return _moved(call)._replace(gradients=tuple(gradients))


def _taken(call: AtenCall) -> Facts:
    """Return the facts of a choice of values: each one is added to the gradient of the first tensor."""
    added = {"add": sum([one.values for one in call.made])} if call.graded[0] else NONE
    return Facts(gradients=(added,) + (NONE,) * (len(call.tensors) - 1))


def _padded(call: AtenCall) -> Facts:
    """Return the facts of `pad`: each value that a border repeats is added to the gradient of what it repeats."""
    return _moved(call) if call.given(2, "mode", "constant") == "constant" else _taken(call)


def _put(call: AtenCall) -> Facts:
    """Return the facts of writing values to places: no arithmetic; of `scatter_add` an addition for each value."""
    adds = call.name.removesuffix("_") in ("scatter_add", "index_add") or call.given(3, "accumulate") is True
    work: Work = {"add": call.tensors[-1].values} if adds else NONE
    return _moved(call)._replace(work=work)


def _folded(call: AtenCall) -> Facts:
    """Return the facts of `fold`: each value is added to its place."""
    return _moved(call)._replace(work={"add": call.tensors[0].values})


def _dropped(call: AtenCall) -> Facts | None:
    """Return the facts of dropout at inference; in training archcalc has an operator for it."""
    return None if call.given(2, "train", True) else _moved(call)._replace(elementwise=True)


RULES: Mapping[str, Rule] = tables(
    (PLAIN, _moved),
    (MADE, _moved),
    (REPEATED, _repeated),
    (CHOICES, _taken),
    ("pad", _padded),
    ("index_put index_put_ scatter scatter_ scatter_add scatter_add_ index_add index_add_ masked_scatter", _put),
    ("col2im", _folded),
    ("dropout dropout_ feature_dropout alpha_dropout feature_alpha_dropout", _dropped),
)
