"""Keys that sign images, the properties that say so, and a key manager that has their certificates."""

import base64
import contextlib
import dataclasses
import datetime
import json
import uuid
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.x509 import oid

from tests import web

METHODS: dict[str, hashes.HashAlgorithm] = {
    "SHA-224": hashes.SHA224(),
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}
KINDS = ("RSA-PSS", "ECC_SECP384R1", "DSA")


@dataclasses.dataclass(frozen=True)
class Signer:
    """Somebody with a key, whose certificate the key manager has."""

    kind: str
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey
    certificate_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))

    def signature(self, data: bytes, method: str = "SHA-256") -> bytes:
        """A signature of the data."""
        algorithm = METHODS[method]
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.MAX_LENGTH)
            return self.key.sign(data, pss, algorithm)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(algorithm))
        return self.key.sign(data, algorithm)

    def properties(self, data: bytes, method: str = "SHA-256") -> dict[str, str]:
        """Those of an image that has the data."""
        return {
            "img_signature": base64.b64encode(self.signature(data, method)).decode(),
            "img_signature_hash_method": method,
            "img_signature_key_type": self.kind,
            "img_signature_certificate_uuid": self.certificate_id,
        }

    def certificate(self, encoding: serialization.Encoding = serialization.Encoding.DER) -> bytes:
        """The key's, good for a day."""
        name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "publisher")])
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        serial = x509.random_serial_number()
        named = x509.CertificateBuilder(name, name, self.key.public_key(), serial)
        dated = named.not_valid_before(now - day).not_valid_after(now + day)
        signed = dated.sign(self.key, hashes.SHA256())
        return signed.public_bytes(encoding)


def signer(kind: str) -> Signer:
    """Somebody with a new key."""
    if kind == "RSA-PSS":
        return Signer(kind, rsa.generate_private_key(65537, 2048))
    if kind == "DSA":
        return Signer(kind, dsa.generate_private_key(1024))  # noqa: S505 - quickly made
    return Signer(kind, ec.generate_private_key(ec.SECP384R1()))


@contextlib.contextmanager
def vault(*signers: Signer) -> Iterator[str]:
    """A server that gives certificates as Vault's key-value store does; options that have castellan ask it.

    It also has a thing that is no certificate, `NO_CERTIFICATE`, and one that is broken, `BROKEN`.
    """
    held = {one.certificate_id: ("certificate", one.certificate()) for one in signers}
    held |= {NO_CERTIFICATE: ("opaque", b"secret"), BROKEN: ("certificate", b"secret")}
    answers = {}
    for name, (kind, value) in held.items():
        record = {"type": kind, "value": value.hex(), "name": "publisher", "created": 0}
        record |= {"algorithm": "", "bit_length": 0}
        document = {"data": {"data": record, "metadata": {}}}
        answers[f"/v1/secret/data/{name}"] = web.whole(json.dumps(document).encode())
    with web.serving(answers) as url:
        yield f"[key_manager]\nbackend = vault\n[vault]\nvault_url = {url}\nroot_token_id = token\n"


NO_CERTIFICATE, BROKEN = str(uuid.uuid4()), str(uuid.uuid4())
