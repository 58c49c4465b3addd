"""What a notebook and a terminal show of graphs, reports and comparisons, and their DataFrames."""

import pickle
import sys

import html5lib
import pytest
from support.fresh_python import imported_by
from support.zoo import network, report

from archcalc import ArchcalcError, analyze, compare, load, notebook, parse
from archcalc.notebook import MOST_LAYERS, MOST_ROWS
from archcalc.render.formats import render
from archcalc.render.tables.compare import comparison_table
from archcalc.render.tables.summaries import summarize

BIG = "name: big\ninput: [3, 8, 8]\nlayers:\n  - {} * conv(3, 1)\n"


def page(html):
    """The elements of a fragment by tag, read as a browser reads it. Raises for anything that is no valid HTML."""
    whole = f'<!DOCTYPE html><html lang="en"><head><title>x</title></head><body>{html}</body></html>'
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(whole)
    return tree.find("body")


def texts(html, tag):
    return ["".join(element.itertext()) for element in page(html).iter(tag)]


def test_a_graph_shows_its_blocks_and_opens_to_its_layers():
    html = network("resnet50")._repr_html_()
    blocks, layers = page(html).iter("table")
    assert ["".join(row.itertext()) for row in blocks.iter("tr")][1].startswith("inputinput3×224×224")
    assert len(list(blocks.iter("tr"))) == 1 + 7 + 1
    assert texts(html, "summary") == ["Layer by layer: 138 rows"]
    assert len(list(layers.iter("tr"))) == 1 + 138 + 1
    assert texts(html, "caption")[0].startswith("resnet50 · Deep residual networks (He et al. 2015)input 3×224×224 ·")
    assert "25,557,032 = 25,529,472 weights + 27,560 biases" in "".join(texts(html, "dd"))


def test_a_network_without_blocks_has_nothing_to_open():
    assert list(page(parse(BIG.format(2))._repr_html_()).iter("details")) == []


SHOWN = {
    "graph": lambda: network("lenet5"),
    "report": lambda: report("lenet5"),
    "comparison": lambda: compare(network("lenet5"), network("vgg16")),
    "unknown figures": lambda: analyze(parse("name: a\ninput: [3, 8, 8]\nlayers:\n  - flatten\n")),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_everything_shows_as_html_and_as_text(kind):
    shown = SHOWN[kind]()
    page(shown._repr_html_())
    page(shown.summary()._repr_html_())
    text = str(shown.summary())
    assert repr(shown.summary()) == text
    assert not text.endswith("\n")


def test_bytes_have_their_unit():
    assert "553.43 MB" in texts(SHOWN["comparison"]()._repr_html_(), "td")


def test_the_style_is_for_this_table_alone():
    (style,) = texts(network("lenet5")._repr_html_(), "style")
    assert style.strip().startswith(".archcalc {")
    assert style.count("{") == style.count("}")
    assert ":root" not in style
    assert "\nbody" not in style


def test_a_summary_is_the_table_of_the_command(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    graph = network("googlenet")
    assert str(graph.summary()) + "\n" == render(summarize(report("googlenet")), width=90)
    assert str(graph.summary(depth=1, batch=4, mode="train")) + "\n" == render(
        summarize(analyze(graph, 4, mode="train"), depth=1), width=90
    )
    assert str(report("googlenet").summary(depth=2)) + "\n" == render(summarize(report("googlenet"), depth=2), width=90)
    comparison = compare(graph, network("vgg16"))
    assert str(comparison.summary()) + "\n" == render(comparison_table(comparison), width=90)


def test_ipython_gets_a_short_text():
    graph = network("resnet152")
    shown = graph._repr_mimebundle_(include=None, exclude=None)
    assert shown["text/html"] == graph._repr_html_()
    assert shown["text/plain"].startswith("resnet152 · ")
    assert len(shown["text/plain"].splitlines()) < 30
    made = graph, report("lenet5"), compare(graph)
    assert not any(isinstance(own, tuple | list | dict) for own in made)  # for these IPython has its own text


def test_a_huge_graph_is_cut():
    large = parse(BIG.format(2 * MOST_ROWS))
    html = large._repr_html_()
    assert len(html) < 300_000
    assert f"Rows 1 to {MOST_ROWS} of {2 * MOST_ROWS + 1:,}; print() and to_pandas() have more." in html
    huge = parse(BIG.format(MOST_LAYERS))
    html = huge._repr_html_()
    assert f"{MOST_LAYERS + 1:,} layers; summary() makes the table, analyze() the figures" in html
    assert len(html) < 5_000
    assert len(huge._repr_mimebundle_()["text/plain"]) < 200


def test_a_hostile_title_is_text():
    text = BIG.format(2).replace("input:", "title: '<script>alert(1)</script><!--'\ninput:")
    html = parse(text)._repr_html_()
    assert "<script" not in html
    assert "<script>alert(1)</script><!--" in texts(html, "caption")[0]


def test_an_error_is_text_where_nobody_asked(monkeypatch):
    def analyze(graph):
        raise ArchcalcError("c1: no <rule>")

    monkeypatch.setattr(notebook, "analyze", analyze)
    assert texts(network("lenet5")._repr_html_(), "p") == ["c1: no <rule>"]
    with pytest.raises(ArchcalcError, match="no <rule>"):
        network("lenet5").summary()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: network("lenet5").summary(depth=0), "depth must be a whole number of at least 1, not 0"),
    (lambda: network("lenet5").summary(depth="a"), "depth must be a whole number of at least 1, not 'a'"),
    (lambda: report("lenet5").summary(batch=2), "summary of a report has no batch; it is for summary of a graph"),
    (lambda: compare(network("lenet5")).summary(depth=1), "summary of a comparison has no depth"),
])  # fmt: skip
def test_wrong_requests(call, message):
    with pytest.raises(ArchcalcError, match=message):
        call()


def test_to_pandas_has_every_layer_and_figure():
    pandas = pytest.importorskip("pandas")
    frame = network("resnet50").to_pandas()
    assert list(frame["name"]) == [node.name for node in network("resnet50").nodes]
    assert frame["params"].dtype == "Int64"
    assert frame["params"].sum() == report("resnet50").totals.params
    assert frame["macs"].sum() == report("resnet50").totals.macs
    assert isinstance(frame, pandas.DataFrame)
    assert frame.equals(report("resnet50").to_pandas())
    assert frame.equals(network("resnet50").summary(depth=1).to_pandas())


def test_to_pandas_of_a_comparison():
    pytest.importorskip("pandas")
    own = compare(network("unet"), network("vgg16"))
    frame = own.to_pandas().set_index("name")
    assert frame.loc["vgg16", "params"] == 138357544
    assert frame["top1_error"].isna().tolist() == [True, False]
    assert pickle.loads(pickle.dumps(own)) == own


def test_unknown_is_na_and_bounds_are_named():
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    from archcalc import from_torch

    class Net(torch.nn.Module):
        def forward(self, x):
            return torch.fft.rfft2(x).real.pow(2)

    graph = from_torch(Net(), (3, 8, 8))
    frame = graph.to_pandas().set_index("name")
    assert frame.loc["fft_r2c", "flops"] is pandas.NA
    assert frame.loc["pow", "flops"] == 120
    both = compare(graph, network("lenet5")).to_pandas()
    assert "flops" in both["at_least"][0]
    assert both["flops"][0] == 120


def test_figures_beyond_64_bits_stay_exact():
    pytest.importorskip("pandas")
    frame = analyze(network("vgg16"), batch=10**9).to_pandas()
    assert max(frame["macs"]) == 10**9 * 1849688064
    assert frame["macs"].sum() == analyze(network("vgg16"), batch=10**9).totals.macs > 2**63
    assert frame["params"].dtype == "Int64"


def test_pandas_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ArchcalcError, match=r"to_pandas needs pandas: pip install 'archcalc\[pandas\]'"):
        network("lenet5").to_pandas()


def test_a_notebook_needs_neither_pandas_nor_torch():
    assert imported_by("import archcalc\narchcalc.load('vgg16')._repr_html_()") == []


def test_what_is_read_from_a_file_shows_itself_too(tmp_path):
    (tmp_path / "graph").write_bytes(pickle.dumps(load("lenet5")))
    path = str(tmp_path / "graph")
    code = f"import pickle\nfile = open({path!r}, 'rb')\nassert '<table>' in pickle.load(file)._repr_html_()"
    assert imported_by(code) == []
