"""A run whose token expires ends at once and says so."""

import pytest

from tests.servers import Fault, S3Server, fault_proxy
from tests.support import QUICK, passtream, write_tones


@pytest.mark.parametrize(
    "runner", ["--in-process", pytest.param("--on-ray", marks=pytest.mark.slow)]
)
def test_a_token_that_expires_ends_the_run_at_once(moto, tmp_path, runner):
    bucket = moto.new_bucket()
    files = moto.storage().filesystem(bucket)
    for path in write_tones(tmp_path / "local", (0.5,) * 6):
        files.put_file(str(path), f"{bucket}/corpus/{path.name}")
    with fault_proxy(moto) as proxy:
        proxy.faults += [Fault("expired", each, ".wav", 10_000) for each in ("HEAD", "GET")]
        options = S3Server(proxy.url).options.items()
        run = passtream(
            "embed", f"{bucket}/corpus", tmp_path / "table", *QUICK, "--shard-clips", 1, runner,
            *(x for name, value in options for x in ("--storage-options", f"{name}={value}")),
        )  # fmt: skip
    assert run.returncode == 3, run.stderr
    assert "the credentials have expired; renew the credentials" in run.stderr
    assert "given up" not in run.stderr
    assert "Traceback" not in run.stderr
    assert not list((tmp_path / "table" / "errors").glob("*"))
