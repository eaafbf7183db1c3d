"""Signatures of images: the four properties, the certificate that they name, and whether the bytes fit.

Contract section 4.9. The API judges the properties with cursive, which fetches the certificate through
castellan from the operator's key manager, with the caller's token, as Glance does. What a worker needs of
that is a public key, which the task holds: so no token waits in the database for it, and a key manager that
is away holds up nobody who was answered. Cursive is loaded only where an image is signed.
"""

import base64
import dataclasses
import logging
import re
from collections.abc import Mapping
from typing import Any

from cryptography import exceptions
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, utils

from images import context, errors

LOG = logging.getLogger(__name__)

SIGNATURE = "img_signature"
HASH_METHOD = "img_signature_hash_method"
KEY_TYPE = "img_signature_key_type"
CERTIFICATE = "img_signature_certificate_uuid"
#: With fewer than these four an image is not signed.
PROPERTIES = (SIGNATURE, HASH_METHOD, KEY_TYPE, CERTIFICATE)

#: Hash methods by hashlib's names.
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
#: Characters that a signature may have at most; with the longest keys it has some 2700.
_LONGEST = 4096
#: An id of the key manager. It becomes part of a URL that is asked with credentials.
_ID = re.compile("[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A signature that can be verified; a task keeps it as JSON."""

    #: The four properties, as they were when the certificate was fetched.
    claim: dict[str, str]
    #: hashlib's name of the hash method.
    algorithm: str
    #: Base64.
    value: str
    #: The certificate's, in PEM.
    public_key: str


class Unread(errors.Conflict):
    """The image's signature was changed while its certificate was fetched; ask again."""

    def __init__(self, claim: dict[str, str]) -> None:
        super().__init__()
        self.claim = claim


def claim_of(properties: Mapping[str, Any]) -> dict[str, str] | None:
    """What an image's properties say of a signature; None where it is not signed."""
    if any(name not in properties for name in PROPERTIES):
        return None
    return {name: str(properties[name] or "") for name in PROPERTIES}


def algorithms_of(properties: Mapping[str, Any]) -> set[str]:
    """The digest that an image's verification will need, by hashlib's name; nothing where there is none."""
    claim = claim_of(properties)
    return {_algorithm(claim)} & _HASHES.keys() if claim else set()


def read(asker: context.Context, claim: dict[str, str]) -> Signature:
    """Judge the properties, and ask the key manager for the certificate: open no transaction around it.

    Raises:
        Invalid: the properties are wrong, or the certificate cannot be had.
    """
    from castellan.common import exception as castellan
    from cursive import exception, signature_utils

    if not _ID.fullmatch(claim[CERTIFICATE]):
        raise _refused(f"{CERTIFICATE} must be an id of the key manager, a UUID")
    if len(claim[SIGNATURE]) > _LONGEST:
        raise _refused(f"{SIGNATURE} is too long to be one")
    try:
        value = signature_utils.get_signature(claim[SIGNATURE])
        signature_utils.get_hash_method(claim[HASH_METHOD])
        kind = signature_utils.SignatureKeyType.lookup(claim[KEY_TYPE])
        key = signature_utils.get_public_key(_known_to_castellan(asker), claim[CERTIFICATE], kind)
    except exception.SignatureVerificationError as error:
        raise _refused(_reason(error)) from error
    except castellan.CastellanException as error:
        raise _refused("The key manager does not give out the certificate") from error
    except (ValueError, TypeError, KeyError, exceptions.UnsupportedAlgorithm) as error:
        LOG.warning("The certificate %s cannot be read: %s", claim[CERTIFICATE], error)
        raise _refused(
            "What the key manager has by that id is no X.509 certificate (Barbican must have it in PEM)"
        ) from error
    if not value:
        raise _refused(f"{SIGNATURE} is empty")
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    encoded = base64.b64encode(value).decode()
    return Signature(claim, _algorithm(claim), encoded, pem.decode())


def verify(signature: Signature, made: Mapping[str, str]) -> None:
    """Hold the digest of an image's data (hex, by hashlib's names) against its signature.

    Cursive's own verifiers do the same at their end. They cannot be given a digest that is made already, and
    one that has heard half of a download cannot be handed to another worker.

    Raises:
        WrongData: something else was signed, or with another key.
    """
    key = serialization.load_pem_public_key(signature.public_key.encode())
    value, digest = base64.b64decode(signature.value), bytes.fromhex(made[signature.algorithm])
    try:
        _verify(key, value, digest, _HASHES[signature.algorithm])
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise _refused("the certificate's key cannot be used with this hash method") from error
    except exceptions.InvalidSignature as error:
        raise errors.WrongData(
            f"Signature verification failed: {SIGNATURE} was made of other data than these, or with another "
            f"key than that of the certificate {signature.claim[CERTIFICATE]}"
        ) from error


def _verify(key: object, value: bytes, digest: bytes, method: hashes.HashAlgorithm) -> None:
    """As the kind of the key wants it; the paddings are cursive's."""
    hashed = utils.Prehashed(method)
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(method), padding.PSS.MAX_LENGTH)
        key.verify(value, digest, pss, hashed)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(value, digest, ec.ECDSA(hashed))
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(value, digest, hashed)
    else:
        raise _refused("the certificate's key is of no kind that signs images")


def _algorithm(claim: Mapping[str, str]) -> str:
    return claim[HASH_METHOD].replace("-", "").lower()


def _refused(why: str) -> errors.Invalid:
    return errors.Invalid(f"Signature verification failed: {why}")


def _reason(error: Exception) -> str:
    """Cursive's text without its beginning, which is ours, too."""
    return str(error).partition(" failed: ")[2].rstrip(".") or str(error)


def _known_to_castellan(asker: context.Context) -> Any:
    """The caller as castellan wants to have it; drivers with credentials of their own look at nothing."""
    from oslo_context import context as oslo_context

    return oslo_context.RequestContext(
        auth_token=asker.auth_token,
        user_id=asker.user_id,
        project_id=asker.project_id,
        request_id=asker.request_id,
        overwrite=False,
    )
