"""Print the Python packages of the environment that runs this: `name==version`, tab, licence."""

from importlib.metadata import Distribution, distributions


def licence(package: Distribution) -> str:
    """What a package says of its licence: an SPDX expression, else the first line."""
    fields = package.metadata
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in fields.get_all("Classifier", [])
        if value.startswith("License ::")
    ]
    told = fields.get("License-Expression") or fields.get("License") or ", ".join(classifiers)
    return (told or "not told").strip().splitlines()[0]


if __name__ == "__main__":
    lines = {f"{each.name}=={each.version}\t{licence(each)}" for each in distributions()}
    print(*sorted(lines, key=str.lower), sep="\n")
