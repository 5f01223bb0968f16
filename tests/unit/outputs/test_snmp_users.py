"""Keys from passwords, against the examples of the RFCs."""

import hashlib

import pytest
from pysnmp.entity import config  # type: ignore[import-untyped]
from pysnmp.proto.secmod.rfc3414 import localkey  # type: ignore[import-untyped]

from collectord.errors import SecretError
from collectord.outputs.snmp_users import AUTH, PRIV, Community, User, password_key


@pytest.mark.parametrize(
    ("hash_name", "expected"),
    [
        # RFC 3414 sections A.3.1 and A.3.2.
        ("md5", "9faf3283884e92834ebc9847d8edd963"),
        ("sha1", "9fb5cc0381497b3793528939ff788d5d79145211"),
    ],
)
def test_examples(hash_name: str, expected: str) -> None:
    """Password "maplesyrup"."""
    assert password_key("maplesyrup", hash_name).hex() == expected


@pytest.mark.parametrize("password", ["12345678", "x" * 64, "größer als sieben", "y" * 2_000])
@pytest.mark.parametrize("auth", list(AUTH))
def test_like_pysnmp(auth: str, password: str) -> None:
    """The same as pysnmp's own, which takes longer."""
    protocol, hash_name = AUTH[auth]
    expected = bytes(config.AUTH_SERVICES[protocol].hash_passphrase(password.encode()))
    assert password_key(password, hash_name) == expected


@pytest.mark.parametrize(
    ("auth", "priv", "same"),
    [
        ("SHA-512", "AES-256", True),
        ("SHA-256", "AES-256", True),
        ("SHA-224", "AES-192", True),
        ("SHA-224", "AES-256", False),
        ("SHA", "AES-192", False),
        ("MD5", "AES-256", False),
    ],
)
def test_forms_of_aes(auth: str, priv: str, same: bool) -> None:
    """Blumenthal's and Reeder's differ where the hash is shorter than the key; Blumenthal hashes Kul once more."""
    protocol, hash_name = AUTH[auth]
    master = password_key("maplesyrup", hash_name)
    engine_id = config.rfc1902.OctetString(hexValue="80007ed90500000000")
    keys = [
        bytes(config.PRIV_SERVICES[PRIV[name]].localize_key(protocol, master, engine_id))
        for name in (priv, f"{priv}-C")
    ]
    assert (keys[0] == keys[1]) is same
    if not same:
        local = bytes(localkey.localize_key(master, engine_id, getattr(hashlib, hash_name)))
        longer = local + hashlib.new(hash_name, local).digest()
        size = int(priv[-3:]) // 8
        assert keys[0] == longer[:size]


def test_loaded() -> None:
    """Nothing that is kept shows a secret to who prints it."""
    community = Community(lambda: "hush-4711")
    user = User("noc", lambda: "hush-4711", lambda: "hush-4712")
    for each in (community, user, community.load(), user.load()):
        assert "hush" not in repr(each)
        assert "key" not in repr(each)
    assert community.load().community == b"hush-4711"
    assert user.load().auth_key != user.load().priv_key


def test_unreadable() -> None:
    """What is wrong with a file goes to who starts the output."""

    def refuse() -> str:
        raise SecretError("everybody can read it")

    with pytest.raises(SecretError):
        User("noc", refuse, refuse).load()
