"""Compare archcalc with the samples of PyTorch's own tests (OpInfo, ModuleInfo): shapes and multiply-accumulates.

    python bench/opinfo.py [NAME]... [--verbose] [--record FILE]

NAME is an operator of archcalc; without one, all that PyTorch has too. Each sample becomes a spec of one layer
(`opinfo_rows.py`) and runs in PyTorch, for shapes on the CPU, for `FlopCounterMode` on meta. It is
equal, wrong, or refused: the language cannot say it, or our operator does not accept it. Samples for which PyTorch
raises must be refused, too. The reasons are counted. Exit code 1: a sample is wrong; 2: PyTorch's test modules need
`expecttest`.
`--record` writes some samples of each function, with PyTorch's figures, for `tests/test_opinfo.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))

from opinfo_rows import FUNCTIONS, MODULES, Row
from opinfo_words import Given, Step, Unsayable

from archcalc import ArchcalcError, parse
from archcalc.ops import REGISTRY

KEPT = 10  # recorded samples per function
DTYPES = {torch.float32, torch.int64, torch.bool}


class Sample(NamedTuple):
    """A function's name in PyTorch, its row, its arguments by name, and how to prepare its call on a device."""

    name: str
    row: Row
    given: Given
    prepare: Callable[[str], Callable[[], Any]]


class Observed(NamedTuple):
    """What PyTorch gives; `problem` if it raises."""

    result: Any
    macs: int = 0
    problem: str = ""


class Verdict(NamedTuple):
    """equal, refused, wrong, or, where PyTorch raises, both refuse; why; and what is recorded."""

    kind: str
    why: str = ""
    spec: str = ""
    batch: int | None = None
    output: Sequence[int] | None = None
    macs: int = 0


def bound(names: Sequence[str], args: Sequence[Any], keywords: Given) -> Given:
    if len(args) > len(names):
        raise ValueError(f"{len(args)} arguments for {' '.join(names)}")
    return dict(zip(names, args, strict=False)) | dict(keywords)


def function_samples(info: Any, row: Row) -> Iterator[Sample]:
    """Yield the samples of an OpInfo, those for which PyTorch raises last."""
    samples = [*info.sample_inputs("cpu", torch.float32, requires_grad=False)]
    if info.error_inputs_func is not None:
        samples += [error.sample_input for error in info.error_inputs("cpu")]
    for sample in samples:
        args = sample.args
        if row.names.split()[:1] in (["shape"], ["dims"], ["repeats"]) and args and isinstance(args[0], int):
            args = (args,)
        given = dict(row.usual) | bound(["input", *row.names.split()], (sample.input, *args), sample.kwargs)
        if row.operator == "embedding":
            given |= {"input": given["weight"], "weight": given["input"]}
        everything = (sample.input, sample.args, sample.kwargs)
        yield Sample(info.name, row, given, partial(_call, info.op, everything))


def moved(everything: Any, device: str) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), everything)


def _call(function: Callable[..., Any], everything: Any, device: str) -> Callable[[], Any]:
    first, args, keywords = moved(everything, device)
    return lambda: function(first, *args, **keywords)


def _module(cls: type[nn.Module], made: Any, forward: Any, device: str) -> Callable[[], Any]:
    module = cls(*made.args, **made.kwargs).eval()
    module(*forward.args, **forward.kwargs)  # a lazy module gets its weights
    args, keywords = moved((forward.args, forward.kwargs), device)
    module.to(device)
    return lambda: module(*args, **keywords)


def module_samples(info: Any, row: Row) -> Iterator[Sample]:
    """Yield the samples of a ModuleInfo, those for which PyTorch raises last."""
    options = {"device": "cpu", "dtype": torch.float32, "requires_grad": False, "training": False}
    samples = [*info.module_inputs_func(info, **options)]
    if info.module_error_inputs_func is not None:
        samples += [error.module_error_input for error in info.module_error_inputs_func(info, **options)]
    cls = info.module_cls
    names = row.names.split() or [*inspect.signature(cls.__init__).parameters][1:]
    for sample in samples:
        made, forward = sample.constructor_input, sample.forward_input
        if forward is None or not forward.args:  # an error of the constructor alone has no shape
            continue
        given = dict(row.usual) | bound(names, made.args, {**made.kwargs})
        inputs = ["input", "key", "value"] if "Attention" in info.name else ["input", "hx"]
        given |= bound(inputs, forward.args, forward.kwargs)
        yield Sample(info.name, row, given, partial(_module, cls, made, forward))


def observe(sample: Sample) -> Observed:
    """Run a sample in PyTorch."""
    try:
        result, macs = counted(sample, "cpu")
    except Exception as error:  # whatever PyTorch raises
        return Observed(None, problem=f"{type(error).__name__}: {error}"[:200])
    with contextlib.suppress(RuntimeError):  # a tensor whose value decides, such as the start of narrow, has none there
        macs = counted(sample, "meta")[1]  # on the CPU the counter counts nothing of fused attention
    return Observed(result, macs)


def counted(sample: Sample, device: str) -> tuple[Any, int]:
    """Return PyTorch's result and its count of multiply-accumulates."""
    call = sample.prepare(device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops() // 2


def figures(step: Step) -> tuple[tuple[int, ...], int]:
    """Return our output's shape with the batch, and MACs. Raises ArchcalcError if we refuse."""
    node = parse(step.spec()).nodes[-1]
    images = 1 if step.batch is None else step.batch
    try:
        macs = node.op.work(node.x, node.output).get("mac", 0)
    except NotImplementedError:  # batchnorm without running statistics
        macs = 0
    return (*(() if step.batch is None else (images,)), *node.output), images * macs


def judged(step: Step, seen: Observed) -> Verdict:
    """Compare one step with PyTorch."""
    spec = step.spec()
    try:
        output, macs = figures(step)
    except ArchcalcError as error:
        return Verdict("refused", str(error).splitlines()[0], spec)
    if seen.problem:
        return Verdict("wrong", f"accepted as {output}; {seen.problem}", spec)
    wanted = tuple(step.result(seen.result))
    kind = "equal" if (output, macs) == (wanted, seen.macs) else "wrong"
    return Verdict(kind, f"{output} {macs:,} MACs, PyTorch {wanted} {seen.macs:,}", spec, step.batch, wanted, seen.macs)


def verdicts(sample: Sample, seen: Observed) -> list[Verdict]:
    """Return a verdict per reading; of several steps all must be equal."""
    found = []
    if any(tensor.dtype not in DTYPES for tensor in tree_leaves(dict(sample.given)) if isinstance(tensor, Tensor)):
        return [Verdict("refused", "another dtype")]
    first = sample.given["input"]
    dims = first.dim() if isinstance(first, Tensor) else 0
    for reading in sample.row.readings(dims):
        try:
            steps = [*sample.row.translate(sample.row.operator, sample.given, reading)]
        except Unsayable as error:
            found.append(Verdict("refused", f"cannot say: {error}"))
            continue
        except Exception:  # arguments that PyTorch refuses, too, such as a list instead of a number
            if not seen.problem:
                raise
            found.append(Verdict("refused", "cannot say: arguments that PyTorch refuses"))
            continue
        of_steps = [judged(step, seen) for step in steps]
        worst = [v for kind in ("wrong", "refused", "equal") for v in of_steps if v.kind == kind]
        found += worst[:1]
    return found or [Verdict("refused", "cannot say: a rank for which PyTorch has another function")]


def verdict(sample: Sample) -> list[Verdict]:
    """Return the verdict of a sample first, then of its other readings."""
    seen = observe(sample)
    found = verdicts(sample, seen)
    by_kind = {kind: [one for one in found if one.kind == kind] for kind in ("wrong", "equal", "refused")}
    ours = sorted(by_kind["refused"], key=lambda one: not one.spec)  # our own message first
    best = (by_kind["wrong"] or by_kind["equal"] or ours)[0]
    if seen.problem and best.kind == "refused":
        best = best._replace(kind="both refuse")
    return [best, *[one for one in found if one is not best]]


def samples(names: Sequence[str]) -> Iterator[Sample]:
    """Yield the samples of these operators. Raises ModuleNotFoundError if PyTorch's test modules need another one."""
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db

    for infos, rows, make in (op_db, FUNCTIONS, function_samples), (module_db, MODULES, module_samples):
        for info in infos:
            row = rows.get(info.name)
            if row and row.operator in REGISTRY and (not names or row.operator in names):
                yield from make(info, row)


def table(counts: dict[str, Counter[str]]) -> str:
    kinds = ("samples", "equal", "refused", "both refuse", "wrong")
    total = sum(counts.values(), Counter[str]())
    named = [*sorted(counts.items()), ("all", total)]
    rows = [[name, *[f"{count[kind]:,}" for kind in kinds]] for name, count in named]
    lines = [["operator", *kinds], *rows]
    return "\n".join(f"{line[0]:<22}" + "".join(f"{cell:>13}" for cell in line[1:]) for line in lines)


def reason(why: str) -> str:
    """Return a reason without its numbers, so that equal ones are counted together."""
    return re.sub(r"\d+(×\d+)+|\d{2,}", "n", re.sub(r"^<text>:\d+:\d+: ", "", why))


def record(path: Path, found: dict[str, list[Verdict]]) -> None:
    """Write some samples of each function, spread evenly, with what PyTorch gave."""
    cases = []
    for name, of_name in sorted(found.items()):
        own = [*{one.spec: one for one in of_name}.values()]
        for i in range(min(KEPT, len(own))):
            one = own[i * len(own) // min(KEPT, len(own))]
            cases.append({"function": name} | {key: getattr(one, key) for key in ("spec", "batch", "output", "macs")})
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f'{{"torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n', encoding="utf-8")


def main(written: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--verbose", action="store_true", help="print each refused sample")
    parser.add_argument("--record", type=Path, metavar="FILE")
    given = parser.parse_args(written)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    kept: dict[str, list[Verdict]] = defaultdict(list)
    try:
        for sample in samples(given.names):
            (best, *others), name = verdict(sample), sample.row.operator
            counts[name].update(["samples", best.kind])
            if best.kind == "refused":
                reasons[f"{name}: {reason(best.why)}"] += 1
            if best.kind == "wrong":
                print(f"WRONG {sample.name}: {best.why}\n{best.spec}", flush=True)
            if given.verbose and best.kind == "refused":
                print(f"refused {sample.name}: {best.why}")
            refused = best.kind == "both refuse"
            kept[sample.name] += [one for one in (best, *others) if one.kind == "equal" or (one.spec and refused)]
    except ModuleNotFoundError as error:
        print(f"PyTorch's test modules need {error.name}: pip install -e '.[bench]'", file=sys.stderr)
        return 2
    print("refused:", *(f"{count:>6}  {why}" for why, count in sorted(reasons.items())), "", sep="\n")
    print(table(counts))
    missing = sorted({row.operator for row in (*FUNCTIONS.values(), *MODULES.values())} - REGISTRY.keys())
    print(f"\ntorch {torch.__version__}" + (f"; no operator here: {', '.join(missing)}" if missing else ""))
    if given.record:
        record(given.record, kept)
    return int(any(count["wrong"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
