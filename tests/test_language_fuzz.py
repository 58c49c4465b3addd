"""Whatever text is read as a spec: it is a graph with figures, or an ArchcalcError, with bounded work."""

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.counted_calls import at_most

from archcalc import ArchcalcError, analyze, networks
from archcalc.auditing.claims import accuracies_of, claims_of, recipes_of
from archcalc.catalog import origin, published_file
from archcalc.spec.expansion import expand
from archcalc.spec.network_spec import parse_spec


def with_published(network):
    """A spec of the zoo in one text with what is published of it."""
    path = published_file(network)
    return network.text + (Path(path).read_text(encoding="utf-8") if path else "")


TEXTS = [*{origin(name).path: with_published(origin(name)) for name in networks()}.values()]
EXAMPLES = int(os.environ.get("ARCHCALC_FUZZ", "150"))
MOST_CALLS = 30_000_000  # of functions; 500,000 steps make some millions
MOST = 3_000  # layers that are analyzed

WORDS = """
name: input: params: variants: blocks: layers: published: add: concat: side: body: a: b(n): b(n,m=2): paper:
conv(8,3) conv(8,1) relu identity maxpool(2) flatten linear(10) batchnorm b(2) b(n-1) use(stem) use(a)
add(relu,identity) concat(a=relu,b=relu) global_avgpool upsample(scale_factor=2) softmax lrn(5) dropout
| * + - / // ** % ( ) [ ] { } , : = == < <= != . ' & ! !! <<: --- ... # ? @ ` > |- >- 'text' é 😀
if else for in not and or is lambda None True False 0 1 2 3 1.5 99999999999 n m x a net null ~
in_channels in_height range( len( sum( max( round( enumerate( zip( [3,8,8] {a:1} [1,2]
"""
RARE = ["chain(relu for i in range(3))", "\t", "\x00", "\x07", "\x1b", "\u2028", "\ufeff", "\r"]
TOKENS = WORDS.split() + RARE
HEAD = "name: a\ninput: [8, 8, 8]\nparams: {n: 2, m: 3}\nblocks: {b(n): [n * relu]}\nlayers:\n  - "
SEPARATORS = st.sampled_from(["", " ", " ", "\n", "\n  ", "\n  - ", "\n    - ", ": ", " | "])


def survive(text: str) -> None:
    """Read, expand and analyze a text. Anything but an ArchcalcError passes through and fails the test."""
    with at_most(MOST_CALLS):
        try:
            spec = parse_spec(text)
            for network in spec.networks()[:2]:
                graph = expand(spec, network)
                assert len({node.name for node in graph.nodes}) == len(graph.nodes)
                for read in (claims_of, accuracies_of, recipes_of):
                    read(graph.origin)
                if len(graph.nodes) <= MOST:
                    analyze(graph)
                    analyze(graph, mode="train")
        except ArchcalcError as error:
            str(error).encode()


def fuzz(strategy):
    relaxed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    return lambda test: relaxed(given(strategy)(test))


@fuzz(st.text(max_size=200))
def test_random_text(text):
    survive(text)


@fuzz(st.text(max_size=60))
def test_random_layer(text):
    survive(HEAD + text)


@fuzz(st.lists(st.tuples(st.sampled_from(TOKENS), SEPARATORS), max_size=40))
def test_random_tokens(parts):
    survive("".join(token + separator for token, separator in parts))


@fuzz(st.lists(st.sampled_from(TOKENS), max_size=25))
def test_random_layer_of_tokens(tokens):
    survive(HEAD + " ".join(tokens))


@st.composite
def mutated(draw):
    """A spec of the zoo with some of its lines, words or characters deleted, doubled, exchanged or replaced."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        unit = draw(st.sampled_from(["\n", " ", ""]))
        parts = text.split(unit) if unit else list(text)
        at, other = (draw(st.integers(0, len(parts) - 1)) for _ in range(2))
        change = draw(st.sampled_from(["delete", "double", "exchange", "replace", "insert"]))
        if change == "delete":
            del parts[at]
        elif change == "double":
            parts.insert(at, parts[at])
        elif change == "exchange":
            parts[at], parts[other] = parts[other], parts[at]
        elif change == "replace":
            parts[at] = draw(st.sampled_from(TOKENS))
        else:
            parts.insert(at, parts[other])
        text = unit.join(parts) or " "
    return text


@fuzz(mutated())
def test_mutated_specs(text):
    survive(text)


@fuzz(st.sampled_from(TEXTS).flatmap(lambda text: st.integers(0, len(text)).map(lambda end: text[:end])))
def test_cut_specs(text):
    survive(text)
