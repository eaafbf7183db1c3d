"""Certificates of servers that a test starts."""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def self_signed(file: pathlib.Path, host: str) -> str:
    """The path of a file with a key and a certificate of a host, its own authority, for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - hour, now + hour)
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    authority = x509.BasicConstraints(ca=True, path_length=None)
    signed = (
        made.add_extension(names, critical=False)
        .add_extension(authority, critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return str(file)
