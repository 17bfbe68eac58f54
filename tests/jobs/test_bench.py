"""`passtream bench model`: that it runs and prints its table; what the figures are is no test."""

import re

import pytest

from tests.support import FAST_ARCH, passtream


def test_races_the_reference_in_turns():
    run = passtream(
        *("bench", "model", "--arch", FAST_ARCH, "--against", "hear21passt"),
        *("--cases", "timestamps", "--repeats", "1"),
    )
    assert run.returncode == 0, run.stderr
    assert "hear21passt 0.0.26" in run.stdout.splitlines()[0]
    row = r"\| timestamps of 10 s \| (\w+) \| ([\d.]+) \| (\d+) \| ([\d.]+) \|"
    rows = re.findall(row, run.stdout)
    assert [who for who, *_ in rows] == ["hear21passt", "passtream"]
    assert all(float(seconds) > 0 for _, seconds, _, _ in rows)
    assert rows[1][3] == "1.00"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--against", "vggish", "against must be hear21passt (got 'vggish')"),
        ("--cases", "windows,speed", "cases must be of windows, mix, timestamps, long"),
        ("--device", "tpu", "device must be of cpu, cuda (got 'tpu')"),
        ("--repeats", "0", "repeats must be at least 1 (got 0)"),
        ("--arch", "passt_xl", "unknown arch 'passt_xl'"),
    ],
)
def test_what_cannot_be_measured_is_refused(option, value, message):
    run = passtream("bench", "model", option, value)
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
