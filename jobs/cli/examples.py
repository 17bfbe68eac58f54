"""Examples that are shown at the end of each command's `--help`."""

_EXAMPLES = {
    "": (
        "passtream plan ~/recordings",
        "passtream embed ~/recordings ~/embeddings",
        "passtream errors ~/embeddings",
        "passtream verify ~/embeddings --source ~/recordings",
    ),
    "embed": (
        "passtream embed ~/recordings ~/embeddings",
        "passtream embed talk.mp3 music/ table --tables clips,windows --in-process",
        "passtream embed s3://bucket/corpus s3://bucket/table --precision bf16",
        "passtream embed ~/recordings trial --weights random:0",
        "passtream embed --config nightly.yaml",
    ),
    "plan": (
        "passtream plan ~/recordings",
        "passtream plan ~/recordings ~/embeddings --json",
        "passtream plan s3://bucket/corpus --sample 2000",
    ),
    "errors": (
        "passtream errors ~/embeddings",
        "passtream errors ~/embeddings --class undecodable,truncated",
        "passtream errors ~/embeddings --csv > failed.csv",
    ),
    "retry": (
        "passtream retry ~/embeddings",
        "passtream retry ~/embeddings --class undecodable",
    ),
    "verify": (
        "passtream verify ~/embeddings",
        "passtream verify ~/embeddings --source ~/recordings",
        "passtream verify ~/embeddings --repair",
    ),
    "status": (
        "passtream status ~/embeddings",
        "passtream status s3://bucket/table --json",
    ),
    "submit": (
        "passtream submit nightly.yaml --address http://HEAD:8265",
        "passtream submit nightly.yaml --no-wait --env AWS_PROFILE",
    ),
    "job list": ("passtream job list --address http://HEAD:8265",),
    "job status": ("passtream job status JOB --address http://HEAD:8265",),
    "job logs": ("passtream job logs JOB --follow",),
    "job stop": ("passtream job stop JOB",),
    "models list": ("passtream models list", "passtream models list --json"),
    "models show": ("passtream models show passt_20sec",),
    "models pull": (
        "passtream models pull passt_20sec",
        "passtream models pull all --to s3://bucket/passt",
    ),
    "bench model": (
        "passtream bench model --cases windows",
        "passtream bench model --device cuda --figures figures.json --name H100",
    ),
    "bench plan": ("passtream bench plan",),
    "bench overhead": ("passtream bench overhead",),
    "bench job": ("passtream bench job",),
    "bench feed": (
        "passtream bench feed",
        "passtream bench feed ~/recordings --figures figures.json --name laptop",
    ),
}


def examples(command: str) -> str:
    """Return the epilog of a command's help, which lists its examples.

    Args:
        command: Name of the command, after the name of its group if it has one.
    """
    return "\n".join(("Examples:", *_EXAMPLES[command]))
