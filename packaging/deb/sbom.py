"""
A CycloneDX bill of materials of the packaged virtual environment: sbom.py FOLDER VERSION, to standard output.

The Python packages come from their own metadata; what is compiled into them from the bills that wheels carry themselves
(PEP 770): maturin writes the engine's, cryptography's has OpenSSL. The same environment gives the same bill.
"""

import json
import os
import sys
import uuid
from datetime import UTC, datetime
from email.parser import Parser
from pathlib import Path
from typing import Any


def main(folder: Path, version: str) -> None:
    """Write the bill of the environment."""
    components: dict[str, dict[str, Any]] = {}
    for info in sorted(folder.glob("lib/*/site-packages/*.dist-info")):
        distribution = _distribution(info)
        if distribution["name"] != "collectord":
            components[distribution["purl"]] = distribution
        for bill in sorted(info.glob("sboms/*.json")):
            for component in json.loads(bill.read_text()).get("components", []):
                if (purl := component.get("purl", "").partition("?")[0]) and purl not in components:
                    components[purl] = _compiled(component, purl, distribution["purl"])
    stamp = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": stamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "bom-ref": f"pkg:deb/collectord@{version}",
                "type": "application",
                "name": "collectord",
                "version": version,
                "purl": f"pkg:deb/collectord@{version}",
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": [components[purl] for purl in sorted(components)],
    }
    # A number that is the content's own.
    content["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True)).urn
    json.dump(content, sys.stdout, indent=1, sort_keys=True)
    print()


def _distribution(info: Path) -> dict[str, Any]:
    """One Python package, by its METADATA."""
    metadata = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"), headersonly=True)
    name, version = str(metadata["Name"]), str(metadata["Version"])
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    found: dict[str, Any] = {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}
    if expression := metadata["License-Expression"]:
        found["licenses"] = [{"expression": expression}]
    elif said := _licence_said(metadata):
        found["licenses"] = [{"license": {"name": said}}]
    return found


def _licence_said(metadata: Any) -> str:
    """What older metadata say: a classifier, else a free text, of which the first line is enough."""
    for classifier in metadata.get_all("Classifier", []):
        if classifier.startswith("License :: OSI Approved :: "):
            return str(classifier.rpartition(" :: ")[2])
    return str(metadata["License"] or "").partition("\n")[0]


def _compiled(component: dict[str, Any], purl: str, within: str) -> dict[str, Any]:
    """One part of a compiled module, without what only the place of the build says."""
    kept = {name: component[name] for name in ("type", "name", "version", "licenses", "hashes") if name in component}
    return {
        **kept,
        "bom-ref": purl,
        "purl": purl,
        "properties": [{"name": "collectord:within", "value": within}],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
