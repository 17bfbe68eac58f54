"""`jobs.figures` and `jobs.costs`: what devices do, and what a run takes of them."""

import json
from collections import Counter

import pytest

from jobs.config import EmbedConfig
from jobs.costs import device_costs, parse_prices, timestamp_flops
from jobs.figures import (
    WINDOW_SAMPLES,
    Figure,
    add_figures,
    all_figures,
    figure_file,
    read_figures,
    shipped_figures,
)
from jobs.table_spec import table_spec
from models.archs import DEFAULT_ARCH, arch_spec
from pipeline.errors import UsageError
from pipeline.tally import Tally
from tests.support import QUICK_ARCH, passtream


class NoWeights:
    origin = digest = ""


def spec_of(**settings):
    config = EmbedConfig(**settings)
    return table_spec(config, {arch.name: NoWeights() for arch in config.archs})


def figure(arch=DEFAULT_ARCH, precision="fp32", rate=2.0):
    return Figure(arch=arch, precision=precision, windows_per_s=rate)


def test_what_is_shipped_is_of_archs_that_there_are():
    for found in shipped_figures().values():
        for each in found:
            assert each.measured_on.endswith("(BENCHMARKS.md)")
            assert each.flops_per_s == each.windows_per_s * arch_spec(each.arch).flops(320_000)


def test_figures_are_added_and_replaced_by_arch_and_precision(tmp_path):
    path = tmp_path / "figures.json"
    add_figures(path, "H100", [figure(rate=5.0), figure(precision="bf16", rate=50.0)])
    add_figures(path, "H100", [figure(rate=6.0)])
    add_figures(path, "A10", [figure(rate=1.0)])
    found = read_figures(path)
    assert {(f.precision, f.windows_per_s) for f in found["H100"]} == {("fp32", 6.0), ("bf16", 50)}
    assert set(all_figures(path)) == {"H100", "A10", *shipped_figures()}


def test_a_persons_own_figure_wins(tmp_path):
    name, (shipped, *others) = next(iter(shipped_figures().items()))
    path = tmp_path / "figures.json"
    add_figures(path, name, [figure(shipped.arch, shipped.precision, 1000.0)])
    rates = {each.precision: each.windows_per_s for each in all_figures(path)[name]}
    assert rates == {shipped.precision: 1000.0} | {o.precision: o.windows_per_s for o in others}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "it maps names of devices to lists"),
        ('{"a": [{"arch": "passt_xl", "precision": "fp32", "windows_per_s": 1}]}', "passt_xl"),
        (
            '{"a": [{"arch": "passt_20sec", "precision": "fp32", "windows_per_s": 0}]}',
            "windows_per",
        ),
        ("{", "figures"),
    ],
)
def test_a_file_of_something_else(tmp_path, content, message):
    path = tmp_path / "figures.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_figures(path)


def test_where_a_bench_keeps_its_figures(tmp_path):
    path = tmp_path / "figures.json"
    assert figure_file(None, "") is None
    for given in ((path, ""), (None, "H100"), (path, "a=b"), (path, "a,b")):
        with pytest.raises(UsageError, match="figures need a file and the device's name"):
            figure_file(*given)
    with pytest.raises(UsageError, match="figures are of the case windows"):
        figure_file(path, "H100").check(has_windows=False)
    with pytest.raises(UsageError, match="there is no folder"):
        figure_file(tmp_path / "no" / "f.json", "H100").check(has_windows=True)


def test_bench_model_writes_what_plan_reads(tmp_path):
    path = tmp_path / "figures.json"
    options = ("--arch", QUICK_ARCH, "--cases", "windows", "--repeats", "1")
    done = passtream("bench", "model", *options, "--figures", path, "--name", "here")
    assert done.returncode == 0, done.stderr
    assert f"kept in {path} as here" in done.stdout
    (device,) = json.loads(path.read_text())
    assert device == "here"
    for found in json.loads(path.read_text())["here"]:
        assert found["arch"] == QUICK_ARCH
        assert found["windows_per_s"] > 0
        assert found["batch_windows"] > 0


def test_work_over_speed_is_time():
    spec = spec_of()
    flops = arch_spec(DEFAULT_ARCH).flops(WINDOW_SAMPLES)
    tally = Tally(work=Counter({0: 7200 * flops}))
    (cost,) = device_costs(tally, spec, ["x"], {"x": [figure()]}, {"x": 3.0})
    # 7,200 windows at 2 a second are an hour.
    assert cost.hours == pytest.approx(1.0)
    assert cost.money == pytest.approx(3.0)
    assert cost.routes[0].speed.is_measured


def test_archs_without_a_figure_are_converted_by_flops():
    spec = spec_of(long_clips="route")
    longer = arch_spec(spec.routes[1].arch)
    tally = Tally(work=Counter({1: 7200 * arch_spec(DEFAULT_ARCH).flops(WINDOW_SAMPLES)}))
    (cost,) = device_costs(tally, spec, ["x"], {"x": [figure()]}, {})
    assert [(route.arch, route.speed.is_measured) for route in cost.routes] == [
        (longer.name, False)
    ]
    assert cost.hours == pytest.approx(1.0)
    assert cost.money is None


def test_timestamps_cost_what_their_windows_do():
    spec = spec_of(tables=("clips", "timestamps"))
    assert timestamp_flops(spec) == arch_spec(DEFAULT_ARCH).flops(5120)
    (cost,) = device_costs(Tally(timestamps=100.0), spec, ["x"], {"x": [figure()]}, {})
    per_s = 2 * arch_spec(DEFAULT_ARCH).flops(WINDOW_SAMPLES)
    assert cost.hours == pytest.approx(100 * timestamp_flops(spec) / per_s / 3600)
    assert timestamp_flops(spec_of()) == 0


def test_prices():
    assert parse_prices(["H100=2.5", "A10=0"]) == {"H100": 2.5, "A10": 0.0}
    for wrong in ("H100", "=2", "H100=-1", "H100=inf", "H100=x", "H100=nan"):
        with pytest.raises(UsageError, match="price must be NAME=PRICE"):
            parse_prices([wrong])
