"""Text about a benchmark case of windows: its batches, fidelity and memory."""

from typing import Any


def case_note(facts: dict[str, Any]) -> str:
    """Return the facts of a case of windows as text, as `ModelCases.windows` collects them."""
    parts = []
    if facts["warm_up"]:
        origin = "remembered" if facts["warm_up"]["is_remembered"] else "found"
        seconds = facts["warm_up"]["seconds"]
        parts.append(
            f"batches of {facts['batch_windows']} ({origin}), warmed up in {seconds:.1f} s"
        )
    for kind, fidelity in (facts["fidelity"] or {}).items():
        parts.append(
            f"compared with fp32 on {fidelity['windows']} windows of {kind}: mean cosine "
            f"{fidelity['cosine_mean']:.5f}, lowest {fidelity['cosine_min']:.5f}, largest "
            f"difference {fidelity['max_abs']:.2g}"
        )
    if facts["peak_memory_bytes"]:
        parts.append(f"{facts['peak_memory_bytes'] / 1e9:.1f} GB of memory at most")
    return "; ".join(parts)
