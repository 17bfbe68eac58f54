"""Tests of `jobs.plan.speeds` and `jobs.plan.device_cost`: speed files, and cost of a run."""

import json
import re
from collections import Counter

import pytest

from jobs.plan.core_speeds import CoreSpeed, build_core_speeds
from jobs.plan.device_cost import device_costs, parse_prices, timestamp_flops
from jobs.plan.speeds import (
    WINDOW_SAMPLES,
    MeasuredSpeed,
    SpeedFile,
    Speeds,
    add_speeds,
    all_speeds,
    read_speeds,
    shipped_speeds,
    speed_file,
)
from jobs.settings.config import EmbedConfig
from jobs.settings.table_spec import table_spec
from models.archs import DEFAULT_ARCH, arch_spec
from pipeline.errors import UsageError
from pipeline.planning.totals import ListingTotals
from tests.support import QUICK_ARCH, ROOT, passtream

BENCHMARKS = (ROOT / "BENCHMARKS.md").read_text()


class NoWeights:
    """Weights without a digest, as a spec needs no more."""

    origin = digest = ""


def spec_of(**settings):
    config = EmbedConfig(**settings)
    return table_spec(config, {arch.name: NoWeights() for arch in config.archs})


def measured_speed(arch=DEFAULT_ARCH, precision="fp32", rate=2.0):
    return MeasuredSpeed(arch=arch, precision=precision, windows_per_s=rate)


def add(path, device, *speeds):
    """Add speeds of a device to a file."""
    add_speeds(path, Speeds(devices={device: list(speeds)}))


def test_shipped_speeds_are_of_known_archs():
    for found in shipped_speeds().devices.values():
        for each in found:
            assert each.measured_on.endswith("(BENCHMARKS.md)")
            assert each.flops_per_s == each.windows_per_s * arch_spec(each.arch).flops(320_000)


def test_shipped_devices_have_the_speeds_of_the_benchmarks():
    table = BENCHMARKS.partition("## The model against hear21passt")[2].partition("\n## ")[0]
    rates, precision = {}, ""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if found := re.search(r"windows of 10 s, (\w+)$", cells[0]):
            precision = found[1]
        if len(cells) > 5 and cells[1] == "passtream" and cells[5]:
            rates[precision] = float(cells[5])
    (measured,) = shipped_speeds().devices.values()
    assert {each.precision: each.windows_per_s for each in measured} == rates


def test_shipped_cores_have_the_speeds_of_the_benchmarks():
    (name,) = shipped_speeds().cores
    assert name == all_speeds(None).default_core == "epyc-zen4"
    rows = re.findall(r"^\| (FLAC|MP3|WAV) \| \d+ \| (\d+) \|", BENCHMARKS, re.M)
    rates = {f".{kind.lower()}": float(rate) for kind, rate in rows}
    found = shipped_speeds().cores[name]
    assert {each.ending: each.audio_s_per_core_s for each in found} == rates
    assert all(each.measured_on.endswith("(BENCHMARKS.md)") for each in found)


def test_device_speeds_are_added_and_replaced_by_arch_and_precision(tmp_path):
    path = tmp_path / "figures.json"
    add(path, "H100", measured_speed(rate=5.0), measured_speed(precision="bf16", rate=50.0))
    add(path, "H100", measured_speed(rate=6.0))
    add(path, "A10", measured_speed(rate=1.0))
    found = read_speeds(path).devices["H100"]
    assert {(f.precision, f.windows_per_s) for f in found} == {("fp32", 6.0), ("bf16", 50)}
    assert set(all_speeds(path).devices) == {"H100", "A10", *shipped_speeds().devices}


def test_core_speeds_are_added_and_replaced_by_ending(tmp_path):
    path = tmp_path / "figures.json"
    add(path, "H100", measured_speed(rate=5.0))
    for name, rates in (("m7i", {".wav": 900.0, ".mp3": 400.0}), ("a", {".mp3": 1.0})):
        add_speeds(path, Speeds(cores={name: build_core_speeds(rates, "here")}))
    SpeedFile(path, "m7i").save_core_speeds("there", {".mp3": 512.3456})
    found = read_speeds(path)
    assert [f.windows_per_s for f in found.devices["H100"]] == [5.0]
    assert found.cores["m7i"] == [
        CoreSpeed(ending=".wav", audio_s_per_core_s=900.0, measured_on="here"),
        CoreSpeed(ending=".mp3", audio_s_per_core_s=512.3, measured_on="there"),
    ]
    # The first core that the user has measured is the default.
    assert list(all_speeds(path).cores) == ["m7i", "a", "epyc-zen4"]
    assert all_speeds(path).default_core == "m7i"


def test_own_speeds_override_the_shipped_ones(tmp_path):
    name, (shipped, *others) = next(iter(shipped_speeds().devices.items()))
    path = tmp_path / "figures.json"
    add(path, name, measured_speed(shipped.arch, shipped.precision, 1000.0))
    rates = {each.precision: each.windows_per_s for each in all_speeds(path).devices[name]}
    assert rates == {shipped.precision: 1000.0} | {o.precision: o.windows_per_s for o in others}
    name, (first, *rest) = next(iter(shipped_speeds().cores.items()))
    SpeedFile(path, name).save_core_speeds("here", {first.ending: 7.0})
    speeds = {each.ending: each.audio_s_per_core_s for each in all_speeds(path).cores[name]}
    assert speeds == {first.ending: 7.0} | {r.ending: r.audio_s_per_core_s for r in rest}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "must have devices .names to lists of arch, precision and windows_per_s. and cores"),
        ('{"a": [{"arch": "passt_20sec", "precision": "fp32", "windows_per_s": 1}]}', "a: Extra"),
        (
            '{"devices": {"a": [{"arch": "passt_xl", "precision": "fp32", "windows_per_s": 1}]}}',
            "passt_xl",
        ),
        (
            '{"devices": {"a": [{"arch": "openmic", "precision": "fp32", "windows_per_s": 0}]}}',
            "devices.a.0.windows_per_s",
        ),
        ('{"cores": {"a": []}}', "cores.a: List should have at least 1 item"),
        ('{"cores": {"a": [{"ending": ".wav", "audio_s_per_core_s": 0}]}}', "cores.a.0.audio_s"),
        ('{"cores": {"a": [{"ending": ".wav"}]}}', "cores.a.0.audio_s_per_core_s: Field required"),
        ("{", "figures"),
    ],
)
def test_invalid_speed_file_is_refused(tmp_path, content, message):
    path = tmp_path / "figures.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_speeds(path)


def test_options_of_a_speed_file_are_checked(tmp_path):
    path = tmp_path / "figures.json"
    assert speed_file(None, "") is None
    for given in ((path, ""), (None, "H100"), (path, "a=b"), (path, "a,b")):
        with pytest.raises(UsageError, match="--figures and --name go together"):
            speed_file(*given)
    with pytest.raises(UsageError, match="--figures needs the case windows"):
        speed_file(path, "H100").check(has_windows=False)
    with pytest.raises(UsageError, match="there is no folder"):
        speed_file(tmp_path / "no" / "f.json", "H100").check(has_windows=True)
    with pytest.raises(UsageError, match="there is no folder"):
        speed_file(tmp_path / "no" / "f.json", "epyc-zen4").check_path()


def test_bench_model_writes_what_plan_reads(tmp_path):
    path = tmp_path / "figures.json"
    options = ("--arch", QUICK_ARCH, "--cases", "windows", "--repeats", "1")
    done = passtream("bench", "model", *options, "--figures", path, "--name", "here")
    assert done.returncode == 0, done.stderr
    assert f"saved to {path} as here" in done.stdout
    ((device, measured),) = json.loads(path.read_text())["devices"].items()
    assert device == "here"
    for found in measured:
        assert found["arch"] == QUICK_ARCH
        assert found["windows_per_s"] > 0
        assert found["batch_windows"] > 0


def test_device_hours_are_work_divided_by_speed():
    spec = spec_of()
    flops = arch_spec(DEFAULT_ARCH).flops(WINDOW_SAMPLES)
    totals = ListingTotals(work=Counter({0: 7200 * flops}))
    (cost,) = device_costs(totals, spec, ["x"], {"x": [measured_speed()]}, {"x": 3.0})
    # 7,200 windows at 2 per second take an hour.
    assert cost.hours == pytest.approx(1.0)
    assert cost.money == pytest.approx(3.0)
    assert cost.routes[0].speed.is_measured


def test_speed_of_an_unmeasured_arch_is_converted_by_flops():
    spec = spec_of(long_clips="route")
    longer = arch_spec(spec.routes[1].arch)
    totals = ListingTotals(work=Counter({1: 7200 * arch_spec(DEFAULT_ARCH).flops(WINDOW_SAMPLES)}))
    (cost,) = device_costs(totals, spec, ["x"], {"x": [measured_speed()]}, {})
    assert [(route.arch, route.speed.is_measured) for route in cost.routes] == [
        (longer.name, False)
    ]
    assert cost.hours == pytest.approx(1.0)
    assert cost.money is None


def test_timestamps_cost_as_much_as_their_windows():
    spec = spec_of(tables=("clips", "timestamps"))
    assert timestamp_flops(spec) == arch_spec(DEFAULT_ARCH).flops(5120)
    (cost,) = device_costs(
        ListingTotals(timestamps=100.0), spec, ["x"], {"x": [measured_speed()]}, {}
    )
    per_s = 2 * arch_spec(DEFAULT_ARCH).flops(WINDOW_SAMPLES)
    assert cost.hours == pytest.approx(100 * timestamp_flops(spec) / per_s / 3600)
    assert timestamp_flops(spec_of()) == 0


def test_prices_are_parsed():
    assert parse_prices(["H100=2.5", "A10=0"]) == {"H100": 2.5, "A10": 0.0}
    for wrong in ("H100", "=2", "H100=-1", "H100=inf", "H100=x", "H100=nan"):
        with pytest.raises(UsageError, match="price must be NAME=PRICE"):
            parse_prices([wrong])
