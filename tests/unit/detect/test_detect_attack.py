"""MITRE ATT&CK names as people write them."""

import pytest

from collectord.detect.attack import TACTICS, is_technique, tactic


@pytest.mark.parametrize("text", ["LateralMovement", "Lateral Movement", "lateral movement", " LATERAL  MOVEMENT "])
def test_tactic(text: str) -> None:
    """Spaces and case do not matter."""
    assert "LateralMovement" == tactic(text)


def test_every_tactic_names_itself() -> None:
    """And nothing else is one."""
    assert list(TACTICS) == [tactic(name) for name in TACTICS]
    assert tactic("") is None
    assert tactic("Sideways") is None


@pytest.mark.parametrize(
    ("text", "valid"),
    [("T1499", True), ("T1021.001", True), ("T149", False), ("1499", False), ("T1021.01", False), ("T1021.", False),
     ("t1499", False), ("T14999", False), ("T1021.001.1", False), ("T\u0661\u0662\u0663\u0664", False), ("", False)],
)  # fmt: skip
def test_technique(text: str, valid: bool) -> None:
    """T and four digits, and a sub-technique's three."""
    assert valid == is_technique(text)
