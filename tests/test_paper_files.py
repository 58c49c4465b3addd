"""Tables of anybody's are read from CSV, TSV and Markdown, each cell with its place; or one error says where."""

import pytest

from archcalc.auditing.paper_files import read_rows
from archcalc.errors import ArchcalcError, SpecError


def read(folder, data, name="paper.csv"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_rows(path)


def texts(folder, data, name="paper.csv"):
    header, rows = read(folder, data, name)
    return [[cell.text for cell in row] for row in (header, *rows)]


TWO = [["name", "params"], ["a", "1,5"]]


@pytest.mark.parametrize(
    "data",
    [
        'name,params\na,"1,5"\n',
        "name;params\na;1,5",
        "name\tparams\r\na\t1,5\r\n",
        "\ufeffname;params\na;1,5\n",
        "name;params\na;1,5\n".encode("utf-16"),
        "name;params\n\n;\na;1,5;;\n",
        'name;"params"\nA heading;\n a ; "1,5" \n',
        "name;params\ra;1,5",
        "sep=;\nname;params\na;1,5\n",
        "name|params\na|1,5\n",
        "name | params\n--- | ---:\na | 1,5\n",
        "| name | params |\n|:--|--:|\n| a | 1,5 |\n",
        "text\n\n| **name** | `params` |\n|---|---|\n| *CNNs* | |\n| a<br> | 1,5 |\n\n| other |\n",
    ],
)
def test_separators_quotes_and_encodings(data, tmp_path):
    assert texts(tmp_path, data) == TWO


def test_a_quoted_cell_may_have_quotes_separators_and_lines(tmp_path):
    assert texts(tmp_path, 'name,"FLOPs\n(G)"\n"a ""b"", c",4\n') == [["name", "FLOPs (G)"], ['a "b", c', "4"]]


def test_a_markdown_cell_may_have_a_bar_and_quotes(tmp_path):
    assert texts(tmp_path, '| name | x |\n|---|---|\n| "a" b | 1 |\n')[1] == ['"a" b', "1"]
    assert texts(tmp_path, "| name | x |\n|---|---|\n| a\\|b | 1 |\n")[1] == ["a|b", "1"]


def test_places(tmp_path):
    _, rows = read(tmp_path, 'name,params,flops\n"x\ny",1,22\nz,3,4\n')
    assert [(cell.place.line, cell.place.column, cell.place.width) for cell in rows[0]] == [
        (2, 1, 5),
        (3, 4, 1),
        (3, 6, 2),
    ]
    assert str(rows[1][2].place).endswith("paper.csv:4:5")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "paper.csv:1:1: not a table"),
        ("name\na\n", "paper.csv:1:1: not a table"),
        ("name,params\na,1,5\n", "paper.csv:2:1: 3 cells for the 2 columns"),
        ("name,params,flops\na,1\n", "paper.csv:2:1: 2 cells for the 3 columns"),
        ('name,params\na,"15\n', "paper.csv:2:3: a quote is not closed"),
        ('name,params\n"a"b,15\n', "paper.csv:2:1: a quote is not closed, or text follows it"),
        ("| name | params |\n|---|---|\n| a |\n", "paper.csv:3:2: 1 cells for the 2 columns"),
    ],
)
def test_what_is_no_table(data, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as raised:
        read(tmp_path, data)
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize("data", [b"name,params\na,\x96\n", "name,params\n".encode("utf-16") + b"\x00"])
def test_other_encodings(data, tmp_path):
    with pytest.raises(ArchcalcError, match=r"not a UTF-(8|16) text"):
        read(tmp_path, data)
