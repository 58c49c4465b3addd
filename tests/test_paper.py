"""A table of anybody's is audited: rows find networks, and each figure says which way of counting gives its digits."""

import json

import pytest
from click.testing import CliRunner

from archcalc import analyze, load
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.auditing.paper import Auditor
from archcalc.auditing.paper_columns import column_of, readings
from archcalc.auditing.paper_rows import read_paper
from archcalc.cli import cli
from archcalc.errors import ArchcalcError, Refusal, SpecError
from archcalc.spec.limits import shared


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Our own conventions alone; others give further answers. The table itself stays, since options read it once."""
    own = {name: CONVENTIONS[name] for name in ("all", "torch", "macs")}
    monkeypatch.setattr("archcalc.auditing.paper.CONVENTIONS", own)
    monkeypatch.setattr("archcalc.analysis.report.CONVENTIONS", own)
    return own


@pytest.mark.parametrize(
    ("title", "role", "unit"),
    [
        ("#Params (M)", "params", "m"),
        ("num_params", "params", ""),
        ("Number of parameters", "params", ""),
        ("Params in millions", "params", "million"),
        ("Params (×10⁶)", "params", "e⁶"),
        ("Parameters, M", "params", "m"),
        ("GFLOPs", "flops", "g"),
        ("FLOPs [G]", "flops", "g"),
        ("Complexity (GMac)", "flops", "g"),
        ("MACs/G", "macs", "g"),
        ("Mult-Adds", "macs", ""),
        ("Input size", "input", ""),
        ("Size (MB)", "param_bytes", "MB"),
        ("Memory (GiB)", "", "GiB"),
        ("Acts (M)", "activations", "m"),
        ("Depth", "depth", ""),
        ("peak inference bytes", "peak_inference_bytes", ""),
        ("Model", "model", ""),
        ("Top-1", "", ""),
        ("", "", ""),
    ],
)
def test_headings(title, role, unit):
    assert column_of(title) == (title, role, unit)


@pytest.mark.parametrize(
    ("text", "title", "values"),
    [
        ("25.6 M", "params", [25_600_000]),
        ("25.6M†", "params", [25_600_000]),
        ("25,6", "Params (M)", [25_600_000]),
        ("4,08918", "GFLOPs", [4_089_180_000]),
        ("25 557 032", "params", [25_557_032]),
        ("4.1 (3.8)", "GFLOPs", [4_100_000_000]),
        ("727 MFLOPs", "FLOPs (G)", [727_000_000]),
        ("7,978,856", "Params (M)", [7_978_856_000_000, 7_978_856]),
        ("3.8×10⁹", "FLOPs (M)", [3_800_000_000]),
        ("61706", "params", [61_706, 61_706_000_000, 61_706_000_000_000]),
        ("4,089,184,256", "FLOPs", [4_089_184_256]),
        ("138.357.544", "params", [138_357_544]),
        ("0", "params", [0]),
        ("233", "Size (MB)", [233_000_000]),
        ("50", "depth", [50]),
    ],
)
def test_readings(text, title, values):
    assert [way.number.value for way in readings(text, column_of(title)) if not way.binary] == values


def test_units_of_1024_come_last():
    found = readings("233", column_of("Size (MB)"))
    assert [(way.number.value, way.unit) for way in found] == [(233_000_000, ""), (233 * 2**20, "in units of 1,024")]


@pytest.mark.parametrize("text", ["many", "4.1 or 4.2", "4,1,2", "25.6 MB"])
def test_what_is_no_figure(text):
    with pytest.raises(Refusal, match="cannot read the number"):
        readings(text, column_of("params"))


def audited(folder, text, search=False, given=None):
    path = folder / "paper.csv"
    path.write_text(text)
    auditor = Auditor(given, search)
    return [own for row in read_paper(path, search)[0] for own in auditor.audit(row)]


def short(found):
    """Per cell: the network, the verdict or why there is none, and what is said of the first answer."""
    return [
        (
            own.networks[0] if own.networks else "",
            own.verdict.verdict if own.verdict else own.remark,
            own.answers[0].text if own.answers else "",
        )
        for own in found
    ]


def test_plain_answers(tmp_path):
    found = short(audited(tmp_path, "Model,Params (M),GFLOPs,MACs\nVGG-16,138.36,15.5,15470264320\nLeNet-5,,,\n"))
    assert found == [
        ("vgg16", "rounds", "at 3×224×224"),
        ("vgg16", "rounds", "macs at 3×224×224"),
        ("vgg16", "exact", "macs at 3×224×224"),
    ]


def test_every_convention_of_the_table_is_tried(tmp_path, few):
    own = CONVENTIONS["torch"]._replace(name="mine", weights=CONVENTIONS["macs"].weights | {"compare": 1})
    few["mine"] = own
    value = analyze(load("alexnet"), flops="mine").totals.flops
    text = f"name,flops,macs\nalexnet,{value},{2 * analyze(load('alexnet')).totals.macs}\n"
    found = short(audited(tmp_path, text))
    assert found == [
        ("alexnet", "explained", "mine at 3×227×227"),
        ("alexnet", "explained", "torch at 3×227×227"),  # 2 per MAC
    ]
    del few["mine"]
    assert short(audited(tmp_path, text))[0] == ("alexnet", "contradicted", "")


def test_the_network_that_answers_most_cells_is_meant(tmp_path):
    """The strides of torchvision's ResNet-50 cost more; params are those of the paper's."""
    found = audited(tmp_path, "name,params,flops\nResNet-50,25.6M,4.1G\nResNet-50,25.6M,3.86G\nResNet-50,25.6M,9G\n")
    assert [own.networks for own in found[::2]] == [
        ("torchvision/resnet50", "resnet50"),
        ("resnet50", "torchvision/resnet50"),
        ("resnet50", "torchvision/resnet50"),
    ]
    assert [own.verdict.verdict for own in found[1::2]] == ["rounds", "rounds", "contradicted"]


def test_inputs(tmp_path):
    """A stated input, one in a name, and one that nobody says; and the first two are as plain as the network's own."""
    macs = analyze(load("resnet18", input=(3, 192, 192))).totals.macs
    for text, verdict in {
        f"name,input,macs\nresnet18,192,{macs}\n": "exact",
        f"name,input,macs\nresnet18,192×192×3,{macs}\n": "exact",
        f"name,input,macs\nresnet18,3x192x192,{macs}\n": "exact",
        f'name,input,macs\nresnet18,"(192, 192)",{macs}\n': "exact",
        f"name,input,macs\nresnet18,192x192 px,{macs}\n": "exact",
        f"name,macs\nresnet18-192px,{macs}\n": "exact",
        f"name,macs\nresnet18,{macs}\n": "explained",
    }.items():
        assert short(audited(tmp_path, text)) == [("resnet18", verdict, "macs at 3×192×192")], text
    assert short(audited(tmp_path, f"name,macs\nresnet18,{macs + 1}\n")) == [("resnet18", "contradicted", "")]


def test_an_input_that_positions_depend_on_sets_the_size(tmp_path):
    params = analyze(load("vit-b-16", size=384)).totals.params
    assert short(audited(tmp_path, f"name,params\nvit_b_16_384,{params}\n"))[0][1:] == ("exact", "at 3×384×384")


@pytest.mark.parametrize("number", ["0", "9" * 5000])
def test_an_input_without_sense_is_not_read(tmp_path, number):
    ((_, text, _),) = short(audited(tmp_path, f"name,input,macs\nresnet18,{number},1G\n"))
    assert "paper.csv:2:10: cannot read the input" in text
    assert len(text) < 300


def test_an_input_that_cannot_be(tmp_path):
    found = short(audited(tmp_path, "name,input,macs\nresnet18,large,1G\nvgg16,8,1G\n"))
    assert found[0][1].endswith("paper.csv:2:10: cannot read the input 'large'; write 224 or 3x224x224")
    assert "is larger than" in found[1][1]


def test_side_outputs_statistics_and_backbones(tmp_path):
    graph = load("torchvision/googlenet")
    infer, train = analyze(graph).totals, analyze(graph, mode="train").totals
    text = (
        f"name,params,flops,activations\ngooglenet,{train.params},{infer.macs},{infer.activations}\n"
        f"googlenet,{infer.params_with_statistics},{infer.macs - 1024000},{infer.activations}\n"
    )
    assert [own[1:] for own in short(audited(tmp_path, text))] == [
        ("explained", "at 3×224×224, with side outputs"),
        ("exact", "macs at 3×224×224"),
        ("exact", "at 3×224×224"),
        ("explained", "with running statistics at 3×224×224"),
        ("explained", "macs without the classifier at 3×224×224"),
        ("exact", "at 3×224×224"),
    ]


def test_a_name_with_21k_may_mean_as_many_classes(tmp_path):
    rows = [f"{name},48158371" for name in ("EfficientNetV2-S_in21k", "EfficientNetV2-S (IN-22k)", "EfficientNetV2-S")]
    found = short(audited(tmp_path, "\n".join(["Model,Params", *rows])))
    answer = ("efficientnet-v2-s", "explained", "at 3×384×384, 21,843 classes")
    assert found == [answer, answer, ("efficientnet-v2-s", "contradicted", "")]
    own = short(audited(tmp_path, "Model,Params\nEfficientNetV2-S_in21k,21458488\ngpt2_21k,124439808\n"))
    assert [(verdict, text) for _, verdict, text in own] == [("exact", "at 3×384×384"), ("exact", "at 1024")]


def test_bytes(tmp_path):
    found = audited(tmp_path, "name,size (MB)\nvgg16,553.4\nvgg16,528\n")
    assert [own[1:] for own in short(found)] == [
        ("rounds", "at 3×224×224"),
        ("explained", "at 3×224×224, in units of 1,024"),
    ]
    (resnet,) = short(audited(tmp_path, "name,model size\nresnet50,102.44 MB\n"))
    assert resnet[1:] == ("explained", "with running statistics at 3×224×224")


def test_few_digits_explain_nothing_alone(tmp_path):
    """15.47 billion are 14.4·1,024³: the params must say that it is the network."""
    found = audited(tmp_path, "name,flops,params\nvgg16,14.4G,\nvgg16,14.4G,138M\nvgg16,14.4G,190M\n")
    assert found[0].verdict is None
    assert found[0].answers
    few = "so few digits are no evidence"
    assert [own[1] for own in short(found)] == [few, "explained", "rounds", few, "contradicted"]


def test_unknown_networks_have_no_verdict(tmp_path):
    text = (
        "name,params,macs\nResNet-49,25557032,\nOurs,25.6M,\nResNet-50 (ours),26.1M,\nresnet50-ours,25557032,\n,1M,2M\n"
    )
    found = short(audited(tmp_path, text))
    assert [own[0] for own in found] == ["", "", "", "resnet50", ""]
    assert found[0][1].startswith("unknown network; did you mean resnet4")
    assert found[1][1] == "unknown network; name it in a column `archcalc` or with --network"
    assert found[2][1] == "unknown network; ours is not in the name of resnet50, and no figure shows that it is meant"
    assert found[3][1] == "exact"
    assert found[4][1] == "unknown network; write the text of a merged cell into each row (line 6)"


def test_networks_are_given(tmp_path):
    text = "name,archcalc,params\nOurs,vgg16,138M\nVGG-16,,138M\nAnother,,61.1M\nA file,my.yaml,1M\n"
    found = short(audited(tmp_path, text, given={"Another": "torchvision/alexnet"}))
    assert [own[:2] for own in found[:3]] == [
        ("vgg16", "rounds"),
        ("vgg16", "rounds"),
        ("torchvision/alexnet", "rounds"),
    ]
    assert found[3][1].startswith("unknown network")


def test_words_beside_a_name_are_counted(tmp_path):
    (found,) = audited(tmp_path, "name,params\nFaster R-CNN w/ ResNet-50,41.5M\n")
    assert "faster, r, cnn, w are not in the name of resnet50" in found.remark


def test_the_text_of_a_table_opens_no_files_and_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit(9)")
    (tmp_path / "mine.yaml").write_text("name: mine\ninput: [3, 8, 8]\nlayers: [identity]\n")
    text = "archcalc,params\ntorch:./mine.py:net,1M\nmine.yaml,1M\n"
    assert all("unknown network" in own[1] for own in short(audited(tmp_path, text)))
    given = audited(tmp_path, "name,params\nx,0\n", given={"x": "mine.yaml"})
    assert short(given)[0][:2] == ("mine.yaml", "exact")


def test_the_text_of_a_table_sends_no_commands_to_a_terminal(tmp_path):
    done = run(tmp_path, "name\x1b[2J,params\x1b[2J\nVGG-16\x1b[2J,138M\nLeNet-5,1\x1b[2J\n")
    assert "\x1b" not in done.output


def test_where_the_steps_of_a_command_end_there_is_no_verdict(tmp_path):
    text = "name,flops\nresnet18,1123456789\nresnet34,1123456789\n"
    assert [own[1] for own in short(audited(tmp_path, text))] == ["contradicted"] * 2
    with shared(2_000, "one command"):
        *_, last = audited(tmp_path, text)
    assert last.verdict is None
    assert "steps left for one command" in last.remark


@pytest.mark.parametrize("long", ["(" * 10**5, "a1 " * 10**5, "/" * 10**5, "1" * 10**5])
def test_long_texts_take_no_longer(long, tmp_path, monkeypatch):
    """Not measured: an expression that takes the square of 100,000 steps would time out."""
    found = audited(tmp_path, f"name,params,{long}\n{long},{long},1\nVGG-16,138M,2\n")
    assert found[-1].verdict.verdict == "rounds"


def test_rows_of_one_network_compute_its_figures_once(tmp_path, monkeypatch):
    counted, own = [], Auditor._counts
    monkeypatch.setattr(Auditor, "_counts", lambda self, *key: counted.append(key) or own(self, *key))
    text = "name,params,flops\n" + "ResNet-18,11.69M,2369245184\nresnet18,11.7M,1.8G\n" * 3
    assert {own.verdict.verdict for own in audited(tmp_path, text)} == {"rounds", "explained"}
    assert len(counted) == len({*counted})


def test_search(tmp_path):
    text = "name,params,flops\nA,25557032,4.1G\nB,138M,\nC,138M,15.5G\nD,25557033,4.1G\nE,,4089184256\n"
    found = audited(tmp_path, text, search=True)
    assert [own.networks[:1] for own in found] == [("torchvision/resnet50",)] * 2 + [(), ("vgg16",), ("vgg16",), (), ()]
    assert "resnet50" not in found[0].networks  # it has other MACs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vgg16,138M\nresnet18,11M\n", "paper.csv:1:1: the table has no header"),
        ("name,parms\nvgg16,138M\n", "paper.csv:1:6: no column prints a figure"),
        ("nmae,params\nvgg16,138M\n", "paper.csv:1:1: no column names the networks"),
        ("name,params\nvgg16,large\n", "paper.csv:1:6: no column prints a figure"),
    ],
)
def test_headers_without_names_or_figures(text, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper.csv").write_text(text)
    with pytest.raises(SpecError) as raised:
        read_paper(tmp_path.__class__("paper.csv"))
    assert str(raised.value).startswith(says)
    assert "parms" not in text or "did you mean params" in str(raised.value)
    assert "nmae" not in text or "did you mean name" in str(raised.value)


def run(folder, text, *options):
    (folder / "paper.csv").write_text(text)
    return CliRunner().invoke(cli, ["audit", str(folder / "paper.csv"), *options])


def test_a_first_column_without_a_heading_has_the_names(tmp_path):
    assert short(audited(tmp_path, ",params\nVGG-16,138M\n"))[0][:2] == ("vgg16", "rounds")


def test_figures_below_a_merged_cell_are_not_lost(tmp_path):
    _, below = short(audited(tmp_path, "name,params\nVGG-16,138M\n,15M\n"))
    assert below[1] == "unknown network; write the text of a merged cell into each row (line 3)"


def test_a_column_without_numbers_is_skipped(tmp_path):
    done = run(tmp_path, "name,weights,params\nVGG-16,V1,138M\nLeNet-5,V2,60K\n")
    assert "2 rows: 1 exact, 1 rounded\n" in done.output
    assert "Skipped columns: weights (no cell below is a number)." in done.output


def test_bytes_in_a_column_of_values_are_bytes(tmp_path):
    done = run(tmp_path, "name,activations,params,memory\nVGG-16,61MB/image,553 MB,96MB\n")
    assert "1 row: 2 rounded\n" in done.output
    assert "Skipped columns: memory (of what? write activations or model size)." in done.output


def test_the_command(tmp_path):
    text = "name,params,flops,top 1,year\nVGG-16,138M,—,71.5,2014\nOurs,1M,1x,2,2015\nLeNet-5,,0.33M,,\n"
    with pytest.raises(ArchcalcError, match="no network is called 'lenet6'; did you mean lenet5"):
        raise run(tmp_path, text, "--network", "Ours=lenet6").exception
    done = run(tmp_path, text, "--network", "Ours=lenet5")
    assert done.exit_code == 1
    assert "3 rows: 2 rounded, 1 contradicted, 1 without a verdict" in done.output
    assert "paper.csv:3:9: cannot read the number '1x'" in done.output
    assert "Skipped columns: top 1, year." in done.output
    assert run(tmp_path, text).exit_code == 0  # an unknown network contradicts nothing


def test_a_table_without_rows(tmp_path):
    done = run(tmp_path, "name,flops\n")
    assert done.exit_code == 0
    assert "paper.csv, 0 rows\n" in done.output


@pytest.mark.parametrize("form", ["markdown", "csv", "tsv", "latex", "rst", "html"])
def test_every_format(form, tmp_path):
    done = run(tmp_path, "name,flops\nVGG-16,15.5G\n", "--format", form)
    assert done.exit_code == 0
    assert "vgg16" in done.output


def test_json_has_all_answers(tmp_path):
    data = json.loads(run(tmp_path, "name,flops\nVGG-16,15.5G\nOurs,1G\n", "--format", "json").output)
    assert data["verdicts"]["rounds"] == data["unknown"] == 1
    row, unknown = data["figures"]
    assert row["answers"][0] == "15,470,264,320: macs at 3×224×224"
    assert (row["name"], row["network"], row["others"], row["line"]) == ("VGG-16", "vgg16", ["torchvision/vgg16"], 2)
    assert unknown["network"] is unknown["verdict"] is unknown["computed"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vgg16", "--search"], "--search is for a table such as paper.csv"),
        (["vgg16", "--network", "a=b"], "--network is for a table such as paper.csv"),
        (["paper.csv", "vgg16"], "audit one table at a time"),
        (["missing.csv"], "missing.csv: No such file"),
        (["paper.csv", "--network", "VGG16=vgg16"], "no row is called 'VGG16'; did you mean VGG-16?"),
    ],
)
def test_requests_that_are_wrong(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper.csv").write_text("name,params\nVGG-16,138M\n")
    done = CliRunner().invoke(cli, ["audit", *arguments])
    assert done.exit_code != 0
    assert says in done.output + str(done.exception)
