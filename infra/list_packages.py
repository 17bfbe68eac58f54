"""Prints the packages of this environment, each as `name==version`, a tab and its licence."""

from importlib.metadata import Distribution, distributions


def read_licence(package: Distribution) -> str:
    """Return the licence in a package's metadata: its SPDX expression, or else its first line."""
    fields = package.metadata
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in fields.get_all("Classifier", [])
        if value.startswith("License ::")
    ]
    text = fields.get("License-Expression") or fields.get("License") or ", ".join(classifiers)
    return (text or "not stated").strip().splitlines()[0]


if __name__ == "__main__":
    lines = {f"{each.name}=={each.version}\t{read_licence(each)}" for each in distributions()}
    print(*sorted(lines, key=str.lower), sep="\n")
