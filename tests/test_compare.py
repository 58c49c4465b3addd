"""Networks side by side: totals, ratios, published errors."""

import csv
import fnmatch
import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.counted_calls import at_most
from support.golden_files import check_golden

from archcalc import ArchcalcError, analyze, compare, load, networks, parse
from archcalc.auditing.claims import accuracies_of
from archcalc.cli import cli
from archcalc.comparing.accuracy import published_errors
from archcalc.comparing.totals import RATIOS, relative
from archcalc.render.choice import Choice, chosen
from archcalc.render.formats import render
from archcalc.render.tables.compare import columns, comparison_table

FAMOUS = ("resnet50", "vgg16", "googlenet", "torchvision/resnet50")
HEADER = "name: {}\ninput: [3, 8, 8]\nlayers:\n"


def output(*args):
    """What the command prints; its errors are raised."""
    result = CliRunner().invoke(cli, ["compare", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def names(*args):
    """The networks of the JSON, in order."""
    return [network["name"] for network in json.loads(output(*args, "--format", "json"))["networks"]]


def with_ratios(comparison):
    """The table with ratios to the first network."""
    return comparison_table(relative(comparison, comparison.entries[0].name))


class TestTotals:
    @pytest.mark.parametrize("conditions", [{}, {"batch": 4, "dtype": "float16", "mode": "train", "flops": "macs"}])
    def test_figures_are_those_of_analyze(self, conditions):
        graphs = [load(name) for name in FAMOUS]
        comparison = compare(*graphs, **conditions)
        for graph, entry in zip(graphs, comparison.entries, strict=True):
            totals = analyze(graph, **conditions).totals
            assert entry.name == graph.name
            assert entry.figures == totals.figures()

    def test_ratios_are_against_the_first(self):
        vgg, resnet = compare(load("vgg16"), load("resnet50")).entries
        for key in ("params", "macs", "flops", "activations"):
            assert vgg.ratios[key] == 1
            assert resnet.ratios[key] * vgg.figures[key] == pytest.approx(resnet.figures[key])

    def test_of_nothing_there_is_no_ratio(self):
        pool = parse(HEADER.format("pool") + "  - maxpool(2)\n")
        (entry, other) = compare(pool, load("lenet5")).entries
        assert (entry.ratios["params"], other.ratios["params"], other.ratios["macs"]) == (None, None, None)
        row = comparison_table(compare(pool, load("lenet5"))).rows[1]
        assert row["params_ratio"] is None

    def test_graphs_and_reports(self):
        of_two = analyze(load("lenet5"), batch=2)
        assert compare(of_two, load("lenet5"), batch=2).entries[0] == compare(of_two).entries[0]
        with pytest.raises(ArchcalcError, match=r"lenet5 has other conditions .* batch 2, .* and batch 1"):
            compare(of_two, load("lenet5"))
        with pytest.raises(ArchcalcError, match="no network to compare"):
            compare()

    @pytest.mark.parametrize(
        ("ratio", "text"),
        [
            (1, "1.00"),
            (5.4137, "5.41"),
            (0.27384, "0.274"),
            (0.0023477, "0.00235"),
            (1234.5, "1,230"),
            (0.9996, "1.00"),
        ],
    )
    def test_ratios_keep_the_digits_that_count(self, ratio, text):
        comparison = compare(load("lenet5"))
        entry = comparison.entries[0]._replace(ratios=dict.fromkeys(RATIOS, ratio))
        comparison = replace(comparison, entries=(entry,), against="lenet5")
        lines = render(chosen(comparison_table(comparison), Choice(("params_ratio",)))).splitlines()
        line = next(line for line in lines if line.startswith("lenet5"))
        assert line.split() == ["lenet5", text]


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "top1", "top5", "protocol"),
        [
            ("resnet50", 24.7, 7.8, "single crop 224"),
            ("torchvision/resnet50", 23.87, 7.138, "single crop 224"),
            ("googlenet", 31.3, 11.1, "single crop 224"),
            ("inception-v3", 21.2, 5.6, "single crop 299"),
            ("vgg16", 27.0, 8.8, "dense, S = 256, Q = 256"),
            ("resnet110", 6.43, None, "best of 5 runs"),
        ],
    )
    def test_the_chosen_test(self, name, top1, top5, protocol):
        errors = published_errors(load(name))
        assert (errors.top1_error, errors.top5_error, errors.protocol) == (top1, top5, protocol)

    @pytest.mark.parametrize(
        ("name", "top1", "top5"),
        [
            ("densenet169", "23.80", "6.85"),
            ("densenet-100-12", "4.10", None),
            ("torchvision/resnet50", "23.87", "7.138"),
        ],
    )
    def test_digits_are_those_that_were_printed(self, name, top1, top5):
        """torchvision prints 76.13, which is 100 − 23.87."""
        (row,) = comparison_table(compare(load(name))).rows
        assert (row["top1"], row["top5"]) == (top1, top5)

    def test_of_an_accuracy_the_error_has_its_digits(self):
        said = "accuracy: [{source: me, dataset: mine, top1: 76.10, top5: 93}]\n"
        errors = published_errors(parse(said + HEADER.format("mine") + "  - conv(1, 3)\n"))
        assert errors[:2] == ("23.90", "7")

    def test_both_errors_are_of_one_test_that_the_spec_has(self):
        for name in fnmatch.filter(networks(), "[gilnsz]*"):
            graph = load(name)
            errors = published_errors(graph)
            known = accuracies_of(graph.origin)
            assert (errors is None) == (not known)
            if errors:
                said = [a for a in known if (a.dataset, a.protocol, a.source) == errors[2:]]
                top1 = {float(a.printed) if a.metric.endswith("error") else round(100 - float(a.printed), 6)
                        for a in said if a.metric.startswith("top1")}  # fmt: skip
                assert top1 == ({errors.top1_error} if errors.top1_error is not None else set())
                assert "ensemble" not in errors.protocol

    def test_of_other_params_nothing_is_published(self):
        assert published_errors(load("resnet50", classes=10)) is None
        assert published_errors(load("resnet50", input=(3, 64, 64))) is None
        assert published_errors(load("resnet50", classes=1000)) is not None

    def test_tests_that_differ_bear_different_marks(self):
        table = comparison_table(compare(*map(load, FAMOUS)))
        marks = [row["top1"].lstrip("0123456789.").strip() for row in table.rows]
        assert marks == ["ᵃ¹", "ᵇ", "ᵃ²", "ᵃ³"]
        assert "different tests, which are not comparable" in " ".join(table.notes)
        for row, mark in zip(table.rows, marks, strict=True):
            note = next(note for note in table.notes if note.startswith(f"{mark} "))
            assert row["protocol"] in note
            assert row["source"] in note

    def test_one_test_needs_no_mark(self):
        table = comparison_table(compare(load("vgg16"), load("vgg19")))
        assert [row["top1"] for row in table.rows] == ["27.0", "27.3"]
        errors = "ImageNet validation, dense, S = 256, Q = 256. Simonyan & Zisserman 2014, Table 3."
        assert table.notes == [f"Errors: {errors}"]


class TestRows:
    def test_patterns_bring_what_is_not_there_yet(self):
        family = fnmatch.filter(networks(), "vgg1*")
        assert names("vgg19", "vgg1*") == ["vgg19", *(name for name in family if name != "vgg19")]
        assert names("vgg1*", "vgg1?") == family

    def test_a_name_given_twice_is_there_twice(self):
        assert names("vgg16", "vgg16") == ["vgg16", "vgg16"]

    def test_families(self):
        found = names("lenet5", "--family", "lenet")
        assert found[0] == "lenet5"
        assert sorted(found) == ["d2l/lenet", "lenet5"]

    def test_files_beside_the_zoo(self, tmp_path):
        path = tmp_path / "a|b_c.yaml"
        path.write_text("name: mine\ninput: [3, 8, 8]\nvariants: {one: {w: 1}, two: {w: 2}}\nparams: {w: 1}\n"
                        "layers:\n  - conv(w, 3)\n")  # fmt: skip
        assert names("vgg16", f"{path}:two") == ["vgg16", "two"]
        (tmp_path / "other.yaml").write_text(path.read_text())
        text = output(f"{path}:one", f"{tmp_path}/other.yaml:one", "vgg16", "--format", "markdown")
        assert r"a\|b\_c.yaml)" in text

    def test_sorted(self):
        unsorted = [entry.name for entry in compare(*map(load, ("resnet50", *FAMOUS))).entries]
        assert unsorted == ["resnet50", *FAMOUS]
        assert names(*FAMOUS, "--sort", "macs") == ["vgg16", "torchvision/resnet50", "resnet50", "googlenet"]
        assert names(*FAMOUS, "--sort=-macs") == ["googlenet", "resnet50", "torchvision/resnet50", "vgg16"]
        assert names(*FAMOUS, "--sort", "name") == sorted(FAMOUS)

    @pytest.mark.parametrize("sort", ["params", "-params"])
    def test_ties_stay_as_they_were(self, sort):
        ties = "torchvision/resnet50", "resnet50"
        assert names(*ties, "--sort", sort) == list(ties)
        assert names(*ties[::-1], "--sort", sort) == list(ties[::-1])

    @pytest.mark.parametrize("sort", ["top5_error", "-top5_error", "year"])
    def test_the_unknown_comes_last(self, sort, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("name: mine\ninput: [3, 8, 8]\nlayers:\n  - conv(1, 3)\n")
        assert names(str(path), "vgg16", "resnet50", "--sort", sort)[-1] == "mine"

    @pytest.mark.parametrize("column", columns(), ids=lambda column: column.key)
    def test_every_column_shows_and_sorts(self, column):
        if column.key.startswith("expected"):
            return  # of networks with dropped branches only
        table = chosen(with_ratios(compare(*map(load, FAMOUS))), Choice((column.key,), column.key))
        assert {row["name"] for row in table.rows} == set(FAMOUS)
        assert len(table.shown()) == (1 if column.key == "name" else 3 if column.key in RATIOS else 2)
        values = [row[column.of or column.key] for row in table.rows]
        known = [value for value in values if value is not None]
        assert len(known) > 1
        texts = isinstance(known[0], str)
        assert known == sorted(known, key=str.casefold if texts else None, reverse=not texts)
        assert values == known + [None] * (len(values) - len(known))

    @pytest.mark.parametrize("column", columns(), ids=lambda column: column.key)
    def test_what_rows_are_sorted_by_is_shown_at_80(self, column):
        table = chosen(with_ratios(compare(*map(load, FAMOUS))), Choice(sort=column.key))
        shown = [c for c in table.shown() if column.key in (c.key, c.of)]
        assert [c.rank for c in shown] == [0]  # never left out
        title = shown[0].title.split()[0]
        text = render(table, width=80)
        assert all(len(line) <= 80 for line in text.splitlines())
        assert title in "".join(text.partition("Not shown")[0].splitlines()[2:5])

    def test_ratios_are_shown_on_request(self):
        assert "×" not in output("vgg16", "resnet50").replace("3×224×224", "")
        text = output("vgg16", "resnet50", "--relative-to", "resnet50", "--columns", "params")
        assert output("vgg16", "resnet50", "--relative-to", "ResNet-50", "--columns", "params") == text
        assert text.splitlines()[0].endswith(" · ×: against resnet50")
        assert [line.split()[-1] for line in text.splitlines()[-2:]] == ["5.41", "1.00"]
        data = json.loads(output("vgg16", "resnet50", "--relative-to", "resnet50", "--format", "json"))
        assert data["against"] == "resnet50"
        loose = json.loads(output("VGG-16", "resnet50", "--relative-to", "ResNet_50", "--format", "json"))
        assert loose == data
        assert data["networks"][0]["params_ratio"] == pytest.approx(138_357_544 / 25_557_032)
        text = output("specs/lenet.yaml:lenet5", "lenet5", "--relative-to", "specs/lenet.yaml:lenet5")
        assert text.splitlines()[0].endswith(" · ×: against lenet5 (specs/lenet.yaml)")
        data = json.loads(output("vgg16", "resnet50", "--format", "json"))
        assert not [key for key in (*data, *data["networks"][0]) if key == "against" or "ratio" in key]

    def test_bytes_have_their_unit_and_programs_whole_numbers(self):
        command = ("lenet5", "vgg16", "--columns", "activation_bytes,activations")
        lines = output(*command).splitlines()
        assert [line.split() for line in lines[-3:]] == [
            ["lenet5", "68,808", "B", "17,202"],
            ["vgg16", "60.95", "MB", "15,237,608"],
            [
                "The",
                "inputs",
                "differ:",
                "MACs,",
                "FLOPs",
                "and",
                "activations",
                "are",
                "for",
                "each",
                "network's",
                "own",
                "input.",
            ],
        ]
        (_, row) = csv.DictReader(io.StringIO(output(*command, "--format", "csv")))
        assert (row["activation_bytes"], row["activations"]) == ("60950432", "15237608")

    def test_columns(self):
        data = json.loads(output("vgg16", "--columns", "depth, MACs,name", "--format", "json"))
        assert list(data["networks"][0]) == ["depth", "macs", "name"]
        assert output("vgg16", "--columns", "depth").splitlines()[1:] == ["Network  Depth", "vgg16       16"]
        lines = output("vgg16", "vgg19", "--columns", "macs,params").splitlines()
        assert lines[1].split() == ["Network", "MACs", "Params"]
        assert len(lines) == 4  # nor notes on errors, which are not shown

    def test_published_errors_are_read_for_their_columns_only(self, monkeypatch):
        monkeypatch.setattr("archcalc.comparing.totals.published_errors", lambda graph: 1 / 0)
        output("vgg16", "--columns", "params,macs")
        output("vgg16", "--no-published")
        output("vgg16", "--no-published", "--format", "json")
        with pytest.raises(ZeroDivisionError):
            output("vgg16", "--columns", "top1_error")

    def test_params_and_input_are_for_all(self):
        data = json.loads(
            output("vgg16", "resnet18", "--set", "classes=10", "--input", "3x64x64", "--batch", "2", "--format", "json")
        )
        assert data["batch"] == 2
        for network, name in zip(data["networks"], ("vgg16", "resnet18"), strict=True):
            totals = analyze(load(name, input=(3, 64, 64), classes=10), batch=2).totals
            assert (network["input"], network["params"], network["macs"]) == ([3, 64, 64], totals.params, totals.macs)
            assert network["top1_error"] is None

    def test_inputs_that_differ_are_told(self):
        assert "The inputs differ" in output("vgg16", "lenet5")
        assert "3×224×224" in output("vgg16", "lenet5")
        assert "The inputs differ" not in output("vgg16", "resnet50")
        assert "The inputs differ" in output("vgg16", "lenet5", "--by", "stage")

    def test_csv_and_json_are_plain_numbers(self):
        (row,) = csv.DictReader(io.StringIO(output("vgg16", "--format", "csv")))
        assert (row["params"], row["receptive_field"]) == ("138357544", "212x212")
        assert row["activation_bytes"] == "60950432"
        (data,) = json.loads(output("vgg16", "--format", "json"))["networks"]
        assert {key: type(data[key]) for key in ("params", "flops", "param_bytes", "depth", "year")} == dict.fromkeys(
            ("params", "flops", "param_bytes", "depth", "year"), int
        )

    def test_a_file_has_no_colours(self, tmp_path):
        path = tmp_path / "out.txt"
        output("vgg16", "resnet50", "-o", str(path))
        assert "\x1b" not in path.read_text()
        assert "vgg16" in path.read_text()

    def test_a_broken_spec_of_a_pattern_is_skipped(self, tmp_path, monkeypatch):
        (tmp_path / "mine.yaml").write_text("name: mine\ninput: [3, 8, 8]\nlayers:\n  - conv(1, 30)\n")
        (tmp_path / "minor.yaml").write_text("name: minor\ninput: [3, 8, 8]\nlayers:\n  - conv(1, 3)\n")
        monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
        result = CliRunner().invoke(cli, ["compare", "min*", "--format", "json"])
        assert [network["name"] for network in json.loads(result.stdout)["networks"]] == ["minor"]
        assert "skipped" in result.stderr
        assert CliRunner().invoke(cli, ["compare", "mine"]).exit_code != 0

    @pytest.mark.parametrize(("other", "unit"), [("vgg16", "pixels"), ("char-rnn", "positions")])
    def test_fields_are_in_pixels_of_images(self, other, unit):
        table = comparison_table(compare(load("lenet5"), load(other)))
        assert next(column.unit for column in table.columns if column.key == "field") == unit

    def test_all_networks_of_a_folder(self):
        known = [name for name in networks() if name.startswith("torchvision/dense")]
        with at_most(600_000 * len(known)):  # calls
            found = names("torchvision/dense*")
        assert found == known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name networks, e.g. archcalc compare resnet50 vgg16, or use --family"),
        (["vgg61"], "no network is called 'vgg61'; did you mean vgg1"),
        (["vgg9*"], "no network matches 'vgg9*'"),
        (["--family", "vggs"], "no family 'vggs'; did you mean vgg?"),
        (["vgg16", "--sort", "parms"], "unknown column 'parms'; did you mean params?"),
        (["vgg16", "--columns", "params,mac"], "unknown column 'mac'; did you mean macs?"),
        (["vgg16", "--by", "layer"], "--by compares exactly two networks, not 1"),
        (["vgg1?", "--by", "layer"], "--by compares exactly two networks, not 4"),
        (["vgg16", "vgg19", "--by", "layers"], "'layers' is not one of 'stage', 'block', 'layer'"),
        (["vgg16", "vgg19", "--by", "layer", "--relative-to", "vgg16"], "omit them with --by"),
        (["vgg16", "vgg19", "--by", "layer", "--sort", "macs"], "unknown column 'macs'; did you mean macs_b or macs_a"),
        (["vgg16", "vgg19", "--relative-to", ""], "'' is not compared; compare it, too, or name one of vgg16, vgg19"),
        (
            ["vgg16", "vgg19", "--relative-to", "vgg61"],
            "'vgg61' is not compared; compare it, too, or name one of vgg16, vgg19",
        ),
        (["vgg16", "vgg19", "--columns", "params_ratio"], "params_ratio is relative to a network; add --relative-to"),
        (["vgg16", "--no-published", "--sort", "top1"], "top1 is published; omit --no-published"),
        (
            ["vgg16", "vgg19", "--by", "layer", "--convention", "torch"],
            "--convention applies to FLOPs; with --by only --format csv",
        ),
        (["vgg16", "lenet5", "--set", "classs=3"], "vgg16 has no param 'classs'; did you mean classes"),
        (["resnet18", "vgg16", "--input", "3x20x20"], "vgg16: specs/"),
    ],
)
def test_wrong_requests(arguments, message):
    result = CliRunner().invoke(cli, ["compare", *arguments])
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


GOLDEN = {
    "famous": (lambda: comparison_table(compare(*map(load, FAMOUS))), (80, 120, 200)),
    "ratios": (lambda: with_ratios(compare(*map(load, FAMOUS))), (80, 120)),
    "inputs": (lambda: comparison_table(compare(*map(load, ("lenet5", "alexnet", "blocks/fire")))), (80, 120)),
}


@pytest.mark.parametrize(("name", "width"), [(name, width) for name, (_, widths) in GOLDEN.items() for width in widths])
def test_golden_tables(name, width):
    text = render(GOLDEN[name][0](), width=width)
    check_golden(f"compare/{name}-{width}.txt", text)
    assert max(map(len, text.splitlines())) <= width
