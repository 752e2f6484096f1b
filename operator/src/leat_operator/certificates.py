"""Certificates of our own: what is due and when (pure), and how keys and certificates are made.

The API server trusts a bundle of authorities, and nobody can tell when it has read a new one. So a new authority is in
the bundle for a while before it signs what is served, and an old one stays in it for a while after.
"""

import base64
import binascii
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=5 * 365)
SERVING_LIFE = timedelta(days=365)
OVERLAP = timedelta(hours=1)
"""How long a new authority waits for its first signature, and an old one for its removal."""

_RENEWED_AT = 2 / 3
_CLOCK_SKEW = timedelta(hours=1)
"""Certificates begin so much earlier: the API server's clock may be behind ours."""

_PEM, _RAW = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@dataclass(frozen=True, slots=True)
class Material:
    """What the Secret keeps.

    Attributes:
        authorities: Newest first; all of them are trusted.
        authority_key: Of the newest one, the only one that still signs.
        certificate: What is served.
        key: Of the certificate.
    """

    authorities: tuple[x509.Certificate, ...]
    authority_key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, data: Mapping[str, str]) -> Self:
        """Read the data of a Secret.

        Raises:
            ValueError: Something is missing, is none of ours, or does not belong to the rest.
        """
        try:
            found = {name: base64.b64decode(data[name]) for name in ("ca.crt", "ca.key", "tls.crt", "tls.key")}
            authorities = tuple(x509.load_pem_x509_certificates(found["ca.crt"]))
            certificate = x509.load_pem_x509_certificate(found["tls.crt"])
            keys = [serialization.load_pem_private_key(found[name], None) for name in ("ca.key", "tls.key")]
        except (KeyError, binascii.Error, TypeError) as error:
            raise ValueError(f"not what this program writes: {error!r}") from error
        for key, owner in zip(keys, (authorities[0], certificate), strict=True):
            if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != owner.public_key():
                raise ValueError(f"a key does not belong to its certificate, {owner.subject.rfc4514_string()}")
        authority_key, own = (key for key in keys if isinstance(key, ec.EllipticCurvePrivateKey))
        return cls(authorities, authority_key, certificate, own)

    def texts(self) -> dict[str, str]:
        """Everything as PEM, by the keys of the Secret."""
        return {
            "ca.crt": "".join(authority.public_bytes(_PEM).decode() for authority in self.authorities),
            "ca.key": _key_pem(self.authority_key),
            "tls.crt": self.certificate.public_bytes(_PEM).decode(),
            "tls.key": _key_pem(self.key),
        }

    def data(self) -> dict[str, str]:
        """The data of the Secret."""
        return {name: base64.b64encode(text.encode()).decode() for name, text in self.texts().items()}


def renewed(material: Material | None, names: Sequence[str], now: datetime) -> Material:
    """The material to use from now on: the very same one while nothing is due.

    Args:
        material: What there is; None when there is none that can be read.
        names: DNS names and addresses that the server is called by.
        now: Aware UTC.
    """
    if material is None or not _valid(material.authorities[0], now):
        authority, authority_key = _authority(now)
        return _reissued((authority,), authority_key, names, now)
    if _aged(material.authorities[0], now):
        authority, authority_key = _authority(now)
        kept = tuple(old for old in material.authorities if _valid(old, now))
        material = replace(material, authorities=(authority, *kept), authority_key=authority_key)
    newest = material.authorities[0]
    issuer = next((each for each in material.authorities if _issued(each, material.certificate)), None)
    usable = issuer is not None and _valid(material.certificate, now) and _names(material.certificate) == set(names)
    known = now - _made(newest) >= OVERLAP
    if not usable or ((issuer is not newest or _aged(material.certificate, now)) and known):
        return _reissued(material.authorities, material.authority_key, names, now)
    if issuer is newest and len(material.authorities) > 1 and now - _made(material.certificate) >= OVERLAP:
        return replace(material, authorities=(newest,))
    return material


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(_PEM, _RAW, serialization.NoEncryption()).decode()


def _reissued(
    authorities: tuple[x509.Certificate, ...],
    authority_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime,
) -> Material:
    """A new certificate by the newest authority."""
    key, authority = ec.generate_private_key(ec.SECP256R1()), authorities[0]
    until = min(now + SERVING_LIFE, authority.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    made = (
        _builder(subject, authority.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(server, critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Material(authorities, authority_key, made, key)


def _authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Each has a name of its own, or a client that finds two of one name may try the wrong one.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"leat-operator {x509.random_serial_number():x}"[:32])])
    made = (
        _builder(name, name, key, now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:  # none that this program has made
        return set()
    return {str(each.value) for each in alternatives}


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _made(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc + _CLOCK_SKEW


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _aged(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of its life are over."""
    life = certificate.not_valid_after_utc - _made(certificate)
    return now >= _made(certificate) + life * _RENEWED_AT
