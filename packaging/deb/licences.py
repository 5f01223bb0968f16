"""
The licences of everything in the package: licences.py FOLDER SBOM CARGO_MANIFEST, to standard output.

Texts of Python packages lie in their dist-info, those of the engine's parts beside their sources. A text that several
share stands once.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("licen", "copying", "notice", "unlicense", "authors")
"""How the names of files with licences begin, in lower case."""


def main(folder: Path, sbom: Path, manifest: Path) -> None:
    """Write the list of parts, then the texts."""
    components = json.loads(sbom.read_text())["components"]
    texts: dict[str, list[str]] = {}
    for part, path in [*_python(folder), *_rust(components, manifest)]:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        texts.setdefault(text, []).append(f"{part}: {path.name}")
    print("Parts of the collectord package that others wrote, and their licences.\n")
    for component in components:
        print(f"{component['name']} {component['version']}: {_said(component)}")
    for text, parts in texts.items():
        print(f"\n{'=' * 80}\n{chr(10).join(sorted(parts))}\n{'-' * 80}\n{text}")


def _said(component: dict) -> str:
    found = [
        each.get("expression") or each["license"].get("id") or each["license"].get("name")
        for each in component.get("licenses", [])
    ]
    return " AND ".join(found) or "see below"


def _python(folder: Path) -> Iterator[tuple[str, Path]]:
    for info in sorted(folder.glob("lib/*/site-packages/*.dist-info")):
        if not info.name.startswith("collectord-"):
            yield from ((info.name.removesuffix(".dist-info"), path) for path in _texts(info))


def _rust(components: list[dict], manifest: Path) -> Iterator[tuple[str, Path]]:
    """Those of the engine's bill whose sources cargo has; parts of other packages' modules come without texts."""
    asked = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", str(manifest)]
    packages = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)["packages"]
    wanted = {(each["name"], each["version"]) for each in components if each["purl"].startswith("pkg:cargo/")}
    for package in sorted(packages, key=lambda each: (each["name"], each["version"])):
        if package["source"] and (package["name"], package["version"]) in wanted:
            folder = Path(package["manifest_path"]).parent
            yield from ((f"{package['name']} {package['version']}", path) for path in _texts(folder))


def _texts(folder: Path) -> list[Path]:
    places = (folder, folder / "licenses", folder / "license_files")
    return sorted(
        path
        for place in places
        if place.is_dir()
        for path in place.rglob("*")
        if path.is_file() and path.name.lower().startswith(NAMES) and path.suffix not in (".py", ".rs", ".json")
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
