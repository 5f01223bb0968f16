"""
Who we are to a receiver: a community of SNMPv2c, or a user of SNMPv3 with the keys that its passwords make.

Of AES-192 and AES-256 there are two forms. RFC 3826 knows neither, and where the hash is shorter than the key they
stretch it differently: draft-blumenthal-aes-usm-04, which net-snmp follows, and draft-reeder-snmpv3-usm-3desede-00,
which Cisco follows (here with a ``-C``). Where the hash is long enough (SHA-256 and up) both are the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from pysnmp.entity import config  # type: ignore[import-untyped]

AUTH: dict[str, tuple[tuple[int, ...], str]] = {
    "MD5": (config.USM_AUTH_HMAC96_MD5, "md5"),
    "SHA": (config.USM_AUTH_HMAC96_SHA, "sha1"),
    "SHA-224": (config.USM_AUTH_HMAC128_SHA224, "sha224"),
    "SHA-256": (config.USM_AUTH_HMAC192_SHA256, "sha256"),
    "SHA-384": (config.USM_AUTH_HMAC256_SHA384, "sha384"),
    "SHA-512": (config.USM_AUTH_HMAC384_SHA512, "sha512"),
}
"""Name in the configuration -> pysnmp's protocol (RFC 3414 section 6, RFC 7860) and the name of the hash."""

PRIV: dict[str, tuple[int, ...]] = {
    "DES": config.USM_PRIV_CBC56_DES,
    "AES-128": config.USM_PRIV_CFB128_AES,
    "AES-192": config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    "AES-256": config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    "AES-192-C": config.USM_PRIV_CFB192_AES,
    "AES-256-C": config.USM_PRIV_CFB256_AES,
}
"""Name in the configuration -> pysnmp's protocol (RFC 3414 section 8, RFC 3826, the drafts above)."""

_STRETCHED_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class LoadedCommunity:
    """A community that was read."""

    community: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoadedUser:
    """A user whose passwords were read and made into keys; the passwords are forgotten."""

    name: str
    auth: tuple[int, ...]
    priv: tuple[int, ...]
    auth_key: bytes = field(repr=False)
    """Ku of RFC 3414 section 2.6: not yet bound to an engine."""
    priv_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Community:
    """SNMPv2c."""

    read: Callable[[], str] = field(repr=False)
    """Gives the community; raises SecretError."""

    def load(self) -> LoadedCommunity:
        """
        Read it.

        Raises:
            SecretError: its file can't be used.
        """
        return LoadedCommunity(self.read().encode())


@dataclass(frozen=True, slots=True)
class User:
    """SNMPv3 with authentication and privacy; there is no less."""

    name: str
    read_auth_password: Callable[[], str] = field(repr=False)
    read_priv_password: Callable[[], str] = field(repr=False)
    auth: str = "SHA-256"
    """A key of ``AUTH``."""
    priv: str = "AES-128"
    """A key of ``PRIV``."""

    def load(self) -> LoadedUser:
        """
        Read the passwords and make keys of them. Takes some ms of hashing: not for the event loop.

        Raises:
            SecretError: a file can't be used.
        """
        auth, hash_name = AUTH[self.auth]
        return LoadedUser(
            self.name,
            auth,
            PRIV[self.priv],
            password_key(self.read_auth_password(), hash_name),
            password_key(self.read_priv_password(), hash_name),
        )


Credentials = Community | User
Loaded = LoadedCommunity | LoadedUser


def password_key(password: str, hash_name: str) -> bytes:
    """The hash of the password repeated to 1 MiB (RFC 3414 sections A.2.1 and A.2.2; RFC 7860 section 9.3)."""
    text = password.encode()
    repeated = text * (_STRETCHED_BYTES // len(text) + 1)
    # Nobody chooses MD5 and SHA-1 but who allowed them in the configuration.
    return hashlib.new(hash_name, repeated[:_STRETCHED_BYTES], usedforsecurity=False).digest()
