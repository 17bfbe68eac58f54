"""Starts a run as a copy of the RayJob `passtream`, which is suspended and serves as a template.

For Jobs, `kubectl create job --from=cronjob/NAME` does the same, but not for RayJobs. If an earlier
run has not ended, the script starts nothing. It uses only the standard library.
"""

import json
import os
import ssl
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TEMPLATE = "passtream"
LABELS = {"app.kubernetes.io/name": "passtream"}
ENDED = {"Complete", "Failed"}
TIMEOUT_S = 30


class RayJobs:
    """The RayJobs of one namespace.

    Args:
        api: URL of Kubernetes' API.
        account: Folder with a service account's token, namespace and the API's certificate.
    """

    def __init__(self, api: str, account: Path) -> None:
        namespace = (account / "namespace").read_text().strip()
        self._url = f"{api}/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        self._token = (account / "token").read_text().strip()
        self._tls = ssl.create_default_context(cafile=account / "ca.crt")

    def request(self, path: str = "", body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Get the object at a path below the RayJobs, or create the RayJob in `body`."""
        http_request = urllib.request.Request(  # noqa: S310 - the URL is that of the API
            self._url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(  # noqa: S310
            http_request, timeout=TIMEOUT_S, context=self._tls
        ) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer


def start_run(jobs: RayJobs) -> str:
    """Start a run unless an earlier run has not ended; return a line that says which."""
    for job in jobs.request()["items"]:
        name, status = job["metadata"]["name"], job.get("status", {}).get("jobDeploymentStatus", "")
        is_run = name.startswith(f"{TEMPLATE}-")
        if is_run and not job["spec"].get("suspend") and status not in ENDED:
            return f"{name} has not ended ({status or 'new'}); nothing is started"
    run = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"generateName": f"{TEMPLATE}-", "labels": LABELS},
        "spec": jobs.request(f"/{TEMPLATE}")["spec"] | {"suspend": False},
    }
    return f"{jobs.request(body=run)['metadata']['name']} is started"


if __name__ == "__main__":
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    print(start_run(RayJobs(f"https://{host}:{port}", ACCOUNT)))
