"""Certificates of TLS connections: the files of our side, and what the other side showed."""

import os
import ssl
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from collectord.errors import CertificateError
from collectord.model import NS_PER_S
from collectord.secret_files import is_for_everybody
from collectord.texts import line

EXPIRES_SOON_DAYS = 30
"""From then on the end of our own certificate is told."""

_FILE_LIMIT_BYTES = 16 * 2**20  # Debian's bundle of all public CAs has a quarter of a MiB.
_SHOWN_NAMES = 3
_SHOWN_CHARACTERS = 80
_LONGEST_CHAIN = 10

# What the parser raises for a certificate that is none, or whose parts are wrong; those of a receiver are its word.
_UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """
    Whom we believe and who we are; the files are read each time, so that renewed ones are used without a restart.

    All PEM. No ``ca_file``: the CAs that the system trusts. No ``cert_file``: no certificate of our own.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """
        A context for one connection: TLS 1.2 at least, and always with the receiver's certificate and name checked.

        Raises:
            CertificateError: a file is missing, unreadable or holds something else; it says which and why.
        """
        return self._loaded_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def server_context(self, clients: ssl.VerifyMode) -> ssl.SSLContext:
        """
        A context for the connections that others make to us: TLS 1.2 at least.

        No session is resumed: each client shows its certificate each time, to the context of the time. So no tickets go
        out either, which a client that only sends never reads: what it sent last would be lost with the reset that the
        kernel answers to a connection closed with something unread (RFC 9293 section 3.10.4).

        Args:
            clients: Whether they need a certificate, from a CA of ``ca_file``.

        Raises:
            CertificateError: as ``context``.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = clients
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        return self._loaded_into(context)

    def _loaded_into(self, context: ssl.SSLContext) -> ssl.SSLContext:
        self.check()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        try:
            if self.ca_file is not None:
                context.load_verify_locations(self.ca_file)
            elif context.verify_mode is not ssl.CERT_NONE:
                context.load_default_certs()
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file, password=b"")
        except (OSError, ValueError) as error:
            # A file that changed since it was checked, or that OpenSSL does not like: a key too short, say.
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            raise CertificateError(f"TLS files can't be used: {words(reason)}") from error
        return context

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(path for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)

    def check(self) -> None:
        """
        Read the files and hold them against each other, without a connection.

        Raises:
            CertificateError: as ``context``.
        """
        if self.ca_file is not None:
            certificates(self.ca_file)
        if self.cert_file is not None:
            leaf = certificates(self.cert_file)[0]
            if self.key_file is not None:
                _check_key(self.key_file, leaf, self.cert_file)

    def own(self) -> x509.Certificate | None:
        """
        Our own certificate.

        Raises:
            CertificateError: it can't be read.
        """
        return None if self.cert_file is None else certificates(self.cert_file)[0]

    def warnings(self, now_ns: int, what: str = "client certificate") -> Iterator[str]:
        """
        What is not wrong yet or not for us to judge: certificates that have ended, begin later, or end soon.

        Args:
            now_ns: Wall clock.
            what: What ours is called.

        Raises:
            CertificateError: as ``context``.
        """
        if self.ca_file is not None:
            found = certificates(self.ca_file)
            if all(days_left(each, now_ns) < 0 for each in found):
                yield f"every CA certificate in {self.ca_file} has expired, the last on {_day(max(map(_end, found)))}"
        leaf = self.own()
        if leaf is None:
            return
        days = days_left(leaf, now_ns)
        if days < 0:
            yield f"the {what} {self.cert_file} expired on {_day(_end(leaf))}"
        elif days < EXPIRES_SOON_DAYS:
            yield f"the {what} {self.cert_file} expires in {days} days, on {_day(_end(leaf))}"
        elif leaf.not_valid_before_utc > _moment(now_ns):
            yield f"the {what} {self.cert_file} is not valid before {_day(leaf.not_valid_before_utc)}"


def certificates(path: Path) -> list[x509.Certificate]:
    """
    The certificates of a PEM file, one at least.

    Raises:
        CertificateError: it can't be read, or holds none.
    """
    content = _content(path)
    try:
        return x509.load_pem_x509_certificates(content)
    except _UNREADABLE as error:
        raise CertificateError(f"{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") from error


def days_left(certificate: x509.Certificate, now_ns: int) -> int:
    """Whole days until it ends; negative once it has."""
    return (_end(certificate) - _moment(now_ns)).days


def shown(encoded: bytes) -> x509.Certificate | None:
    """A certificate in DER that the other side sent; None if it can't be read."""
    try:
        return x509.load_der_x509_certificate(encoded)
    except _UNREADABLE:
        return None


def names(certificate: x509.Certificate) -> str:
    """For whom it is: names and addresses of subjectAltName, else the common name, quoted and cut."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [
            *extension.get_values_for_type(x509.DNSName),
            *map(str, extension.get_values_for_type(x509.IPAddress)),
        ]
    except (*_UNREADABLE, x509.ExtensionNotFound):
        found = []
    found = found or _common_names(certificate, issuer=False)
    if not found:
        return "nobody"
    rest = f" and {len(found) - _SHOWN_NAMES} more" if len(found) > _SHOWN_NAMES else ""
    return ", ".join(map(_quoted, found[:_SHOWN_NAMES])) + rest


def issuer(certificate: x509.Certificate) -> str:
    """Who signed it, quoted and cut."""
    found = _common_names(certificate, issuer=True)
    if found:
        return _quoted(found[0])
    try:
        return _quoted(certificate.issuer.rfc4514_string())
    except _UNREADABLE:
        return "somebody"


def not_valid_now(chain: Sequence[x509.Certificate], now_ns: int) -> str:
    """Which certificate of a chain has expired or not begun, and when; empty if all are valid."""
    now = _moment(now_ns)
    for certificate in chain:
        try:
            begin, end = certificate.not_valid_before_utc, _end(certificate)
        except _UNREADABLE:
            continue
        if end < now:
            return f"the certificate for {names(certificate)} expired on {_day(end)}"
        if begin > now:
            return f"the certificate for {names(certificate)} is not valid before {_day(begin)}, here it is {_day(now)}"
    return ""


def sent_chain(message: bytes, *, with_extensions: bool) -> list[bytes]:
    """
    The certificates in DER of a Certificate message (RFC 8446 section 4.4.2, RFC 5246 section 7.4.2).

    Args:
        message: The whole handshake message.
        with_extensions: Whether it is one of TLS 1.3.
    """
    at = 4  # Type and length of the message.
    if with_extensions:
        at += 1 + int.from_bytes(message[at : at + 1])  # certificate_request_context
    at += 3  # Length of the list.
    found: list[bytes] = []
    while at < len(message) and len(found) < _LONGEST_CHAIN:
        end = at + 3 + int.from_bytes(message[at : at + 3])
        found.append(message[at + 3 : end])
        at = end + (2 + int.from_bytes(message[end : end + 2]) if with_extensions else 0)
    return found


def words(reason: str) -> str:
    """A reason of OpenSSL's (``KEY_VALUES_MISMATCH``) or of the system's in lower-case words."""
    return line(reason)[:_SHOWN_CHARACTERS].replace("_", " ").lower()


def _check_key(path: Path, leaf: x509.Certificate, of: Path) -> None:
    content = _content(path, secret=True)
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise CertificateError(f"the key in {path} is encrypted, and nobody can be asked for its password") from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        fits = key.public_key().public_bytes(*form) == leaf.public_key().public_bytes(*form)
    except ValueError as error:
        raise CertificateError(f"the key of the certificate in {of} can't be read") from error
    if not fits:
        raise CertificateError(f"the key in {path} does not belong to the certificate in {of}")


def _content(path: Path, *, secret: bool = False) -> bytes:
    """What a file holds; of a secret one everybody's rights are refused."""
    try:
        # Without O_NONBLOCK a named pipe would hold us up until somebody writes to it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise CertificateError(f"{path} is not a file")
            content = stream.read(_FILE_LIMIT_BYTES)
    except OSError as error:
        raise CertificateError(f"can't read {path}: {(error.strerror or type(error).__name__).lower()}") from error
    if secret and is_for_everybody(mode):
        raise CertificateError(f"everybody can read or write {path} (mode {mode & 0o777:04o}); chmod 640 {path}")
    return content


def _end(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _common_names(certificate: x509.Certificate, *, issuer: bool) -> list[str]:
    try:
        name = certificate.issuer if issuer else certificate.subject
        return [str(each.value) for each in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except _UNREADABLE:
        return []


def _quoted(text: str) -> str:
    """A word of somebody else's: on one line, cut."""
    shown = line(text)
    return f'"{shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."}"'
