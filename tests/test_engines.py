"""Sweeps on dask: the same table as here, whatever dies; and what is missing is marked, never a number."""

import pickle
import subprocess
import sys
from functools import partial
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner
from support.dying import fails, kills_its_worker_once

from archcalc import ArchcalcError, engines, search, sweep, sweeping
from archcalc.cli import cli
from archcalc.engines import QUIET, RETRIES, Lost, outcomes
from archcalc.searching import read_bounds

distributed = pytest.importorskip("distributed")
SIZES = {"size": range(1, 60), "classes": [10, 1000]}


@pytest.fixture(scope="module")
def cluster():
    """Two workers, which are processes of their own."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **QUIET) as made:
        yield made


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A spec in a folder that no worker is in; a layer without weights has no peak of training."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(
        "name: own\ninput: [channels, 8, 8]\nparams: {channels: 3, k: 2}\nlayers: [maxpool(k)]\n"
    )
    return "own.yaml"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(sweeping, "PART", 25)


def here(order=lambda parts: parts, lost=(), stop=None):
    """An engine that runs in this process; what goes to a worker and back is pickled."""

    def engine(_engine, _jobs, function, items):
        for i, item in enumerate(order([*items])):
            if i == stop:
                raise KeyboardInterrupt
            sent = pickle.loads(pickle.dumps(item))
            yield item, Lost("it died") if i in lost else pickle.loads(pickle.dumps(function(sent)))

    return engine


def plain(found):
    """All of a sweep, to compare."""
    figures = {key: (array.filled(-1).tolist(), array.mask.tolist()) for key, array in found.figures.items()}
    return (found.name, found.over, figures, found.problem_at.tolist(), found.problems, found.missing, found.stopped)


CASES = [
    ("vgg16", SIZES, {}),
    ("unet", {"batch": [1, 2], "size": range(100, 240, 3)}, {}),
    ("resnet50", {"size": range(1, 300, 20), "depths": ["[1, 1, 1, 1]", "[1]", "[1, 2, 1, 1]"]}, {}),
    ("bert-base", {"depth": [1, 2], "length": range(1, 600, 100)}, {}),
    ("own.yaml", {"channels": ["3", "6"], "k": ["2", "9"], "height": range(8, 30)},
     {"mode": "train", "figures": ["activations", "peak_training_bytes"]}),
]  # fmt: skip


@pytest.mark.parametrize("order", [lambda parts: parts, lambda parts: parts[::-1]], ids=["in order", "backwards"])
@pytest.mark.parametrize(("name", "over", "setting"), CASES)
def test_parts_make_the_same_table(name, over, setting, order, own, small_parts, monkeypatch):
    monkeypatch.setattr(sweeping, "outcomes", here(order))
    assert plain(sweep(name, over, engine="dask", **setting)) == plain(sweep(name, over, **setting))


@pytest.mark.parametrize(("name", "over", "setting"), [CASES[0], CASES[-1]])
def test_workers_make_the_same_table(name, over, setting, own, small_parts, cluster):
    there = sweep(name, over, engine=f"dask={cluster.scheduler_address}", **setting)
    assert plain(there) == plain(sweep(name, over, **setting))


def test_a_killed_worker_costs_nothing(own, small_parts, cluster, tmp_path, monkeypatch):
    (marks := tmp_path / "marks").mkdir()
    monkeypatch.setattr(sweeping, "compute_part", partial(kills_its_worker_once, str(marks)))
    there = sweep("vgg16", SIZES, engine=f"dask={cluster.scheduler_address}")
    assert len([*marks.iterdir()]) > 5  # the parts, and the one that ran twice
    assert plain(there) == plain(sweep("vgg16", SIZES))


def test_without_retries_it_costs_its_part_which_is_marked(small_parts, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    monkeypatch.setattr(sweeping, "compute_part", partial(kills_its_worker_once, str(tmp_path)))
    there = sweep("vgg16", SIZES, engine=f"dask={cluster.scheduler_address}")
    assert 0 < there.missing <= 2 * 25  # what its worker had
    left_out = [row for row in there.rows() if row["problem"].startswith("not computed: its workers died")]
    assert len(left_out) == there.missing
    assert {row["macs"] for row in left_out} == {None}
    for row, alone in zip(there.rows(), sweep("vgg16", SIZES).rows(), strict=True):
        assert row in left_out or row["macs"] == alone["macs"]


@pytest.mark.parametrize(("times", "outcome"), [(RETRIES, 49), (RETRIES + 1, Lost("OSError: the disk is full"))])
def test_a_call_that_fails_is_repeated(times, outcome, cluster, tmp_path):
    call = partial(fails, str(tmp_path), times)
    assert [*outcomes(f"dask={cluster.scheduler_address}", 1, call, [7])] == [(7, outcome)]


ENGINE = ["sweep", "vgg16", "--over", "size=25:34", "--columns", "macs", "--format", "csv", "--engine", "dask"]


@pytest.mark.slow
def test_a_cluster_of_its_own_leaves_no_trace():
    command = [sys.executable, "-W", "error", "-m", "archcalc", *ENGINE]
    one, two = (subprocess.run(own, capture_output=True, text=True, check=True)
                for own in (command[:-2], [*command, "--jobs", "2"]))  # fmt: skip
    assert (two.stdout, two.stderr) == (one.stdout, "")


@pytest.mark.parametrize(("engine", "code", "said", "why"), [
    (here(stop=1), 130, "stopped: 6 of 10 combinations are not computed", "stopped"),
    (here(lost=[1]), 1, "error: 4 of 10 combinations are not computed", "it died"),
])  # fmt: skip
def test_what_is_computed_is_shown(engine, code, said, why, monkeypatch):
    monkeypatch.setattr(sweeping, "PART", 4)
    whole = CliRunner().invoke(cli, ENGINE[:-2]).stdout.splitlines()
    monkeypatch.setattr(sweeping, "outcomes", engine)
    result = CliRunner().invoke(cli, ENGINE)
    lines = result.stdout.splitlines()
    marked = [line for line in lines if line.endswith(f",,not computed: {why}")]
    assert (result.exit_code, result.stderr.strip()) == (code, said)
    assert len(marked) == int(said.split()[1])
    for line, alone in zip(lines, whole, strict=True):
        assert line in marked or line == alone


def test_nothing_computed_is_no_table(small_parts, monkeypatch):
    monkeypatch.setattr(sweeping, "outcomes", here(stop=0))
    with pytest.raises(KeyboardInterrupt):
        sweep("vgg16", SIZES, engine="dask")
    monkeypatch.setattr(sweeping, "outcomes", here(lost=range(99)))
    with pytest.raises(ArchcalcError, match="no part of the sweep is computed: it died"):
        sweep("vgg16", SIZES, engine="dask")


def test_the_best_of_a_part_is_not_the_best(small_parts, monkeypatch):
    bounds = read_bounds("macs < 9G", "infer")
    monkeypatch.setattr(sweeping, "outcomes", here())
    assert search("vgg16", SIZES, bounds, "size", engine="dask") == search("vgg16", SIZES, bounds, "size")
    monkeypatch.setattr(sweeping, "outcomes", here(lost=[1]))
    with pytest.raises(ArchcalcError, match="24 of 118 combinations are not computed: it died; so none"):
        search("vgg16", SIZES, bounds, "size", engine="dask")
    monkeypatch.setattr(sweeping, "outcomes", here(stop=2))
    with pytest.raises(KeyboardInterrupt):
        search("vgg16", SIZES, bounds, "size", engine="dask")


@pytest.mark.parametrize("order", [lambda parts: parts, lambda parts: parts[::-1]], ids=["in order", "backwards"])
@pytest.mark.parametrize("over", [
    {"siz": [1]}, {"size": []}, {"size": [224], "height": [224]},
    {"classes": ["7", "10**9", "10**16"], "size": [10**5, 10**6], "batch": [1, 10**9]},
])  # fmt: skip
def test_errors_are_the_same(over, order, monkeypatch):
    monkeypatch.setattr(sweeping, "outcomes", here(order))
    with pytest.raises(ArchcalcError) as alone:
        sweep("vgg16", over)
    with pytest.raises(ArchcalcError) as there:
        sweep("vgg16", over, engine="dask")
    assert str(there.value) == str(alone.value)


@pytest.mark.parametrize(("engine", "message"), [
    ("spark", "unknown engine 'spark'; write dask, or dask=tcp://HOST:8786"),
    ("dask=", "unknown engine 'dask='"),
    ("dask=nowhere", "no scheduler at nowhere: ValueError: missing port number in address 'nowhere'; start one with"),
    ("dask=tcp://127.0.0.1:9", "no scheduler at tcp://127.0.0.1:9: no answer in 0.5 s"),
])  # fmt: skip
def test_a_wrong_engine_says_what_to_write(engine, message, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", 0.5)
    result = CliRunner().invoke(cli, [*ENGINE[:-1], engine])
    assert message in str(result.exception)


def test_a_scheduler_without_workers_is_refused():
    with distributed.LocalCluster(n_workers=0, **QUIET) as empty:
        with pytest.raises(ArchcalcError, match="no scheduler with workers at"):
            sweep("vgg16", SIZES, engine=f"dask={empty.scheduler_address}")
        with pytest.raises(ArchcalcError, match="with dask=ADDRESS omit them"):
            sweep("vgg16", SIZES, jobs=2, engine=f"dask={empty.scheduler_address}")


def test_without_its_scheduler_the_rest_is_lost(monkeypatch):
    monkeypatch.setattr(engines, "_client", lambda engine, jobs: gone)
    gone = MagicMock()
    gone.__enter__.return_value.ncores.side_effect = OSError("Timed out trying to connect")
    lost = Lost("the scheduler is gone: OSError: Timed out trying to connect")
    assert [*outcomes("dask", 1, str, [7, 8])] == [(7, lost), (8, lost)]


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ArchcalcError, match=r"the engine dask needs distributed: pip install 'archcalc\[dask\]'"):
        sweep("vgg16", SIZES, engine="dask")


def test_another_version_on_a_worker_is_an_error(monkeypatch):
    monkeypatch.setattr(sweeping, "outcomes", here(lambda parts: [part._replace(version="0.0.1") for part in parts]))
    with pytest.raises(ArchcalcError, match=r"a worker has archcalc .*; install 0\.0\.1 there"):
        sweep("vgg16", SIZES, engine="dask")
