"""By what the API server is known to servers that it passes requests on to: a certificate, and headers with the caller.

A Service without pods is of type ExternalName here, which the API server calls at its name: ours run on this machine.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "front-proxy-client"
_LIFE = timedelta(days=3650)


def flags(root: Path) -> Sequence[str]:
    """Return the API server's flags for aggregation."""
    return (
        f"--requestheader-client-ca-file={root / 'front-proxy-ca.crt'}", f"--requestheader-allowed-names={NAME}",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={root / 'front-proxy.crt'}", f"--proxy-client-key-file={root / 'front-proxy.key'}",
    )  # fmt: skip


def prepare(root: Path) -> None:
    """Make the certificate and its authority, unless they are there."""
    if (root / "front-proxy.crt").exists():
        return
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("front-proxy-ca", "front-proxy-ca", key=authority_key, signer=authority_key)
    certificate = _certificate(NAME, "front-proxy-ca", key=key, signer=authority_key)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (root / "front-proxy.key").touch(mode=0o600)
    (root / "front-proxy.key").write_bytes(pem)
    (root / "front-proxy-ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (root / "front-proxy.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))  # last: all are there


def _certificate(
    name: str, issuer: str, *, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    )
    return (builder if name == issuer else builder.add_extension(client, critical=False)).sign(signer, hashes.SHA256())
