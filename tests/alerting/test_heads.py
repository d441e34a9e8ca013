"""Heads and their signatures: a key that others may read is refused, and nothing shows it."""

import os
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from alerting.errors import KeyFileError, LedgerError
from alerting.heads import (
    Head,
    add_head,
    check,
    generate,
    load_private,
    load_public,
    read_heads,
    sign,
)
from alerting.ledger import Point

POINT = Point(7, "ab" * 32)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return generate(tmp_path_factory.mktemp("keys") / "made")


def test_a_signed_head_is_good_and_survives_its_file(keys: tuple[Path, Path], tmp_path: Path):
    head = sign(POINT, load_private(keys[0]))
    add_head(tmp_path / "head.json", head)
    assert read_heads(tmp_path / "head.json") == [head]
    add_head(tmp_path / "head.json", head)
    assert read_heads(tmp_path / "head.json") == [head, head]
    assert check(head, load_public(keys[1])) is None
    assert head.point == POINT


@given(data=st.data())
def test_a_head_that_was_changed_anywhere_is_refused(keys: tuple[Path, Path], data):
    head = sign(POINT, load_private(keys[0]))
    wire = bytearray(msgspec.json.encode(head))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != wire[at]))
    try:
        changed = msgspec.json.decode(bytes(wire), type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    same = msgspec.structs.replace(changed, signature=(changed.signature or "").lower()) == head
    assert same or check(changed, load_public(keys[1])) is not None


def test_a_head_without_a_signature_or_by_another_key_is_not_good(
    keys: tuple[Path, Path], tmp_path: Path
):
    other, _ = generate(tmp_path)
    public = load_public(keys[1])
    assert check(sign(POINT, None), public) == "the head is not signed"
    assert "not by this key" in str(check(sign(POINT, load_private(other)), public))


def test_a_private_key_is_its_owners_alone(keys: tuple[Path, Path], tmp_path: Path):
    assert keys[0].stat().st_mode & 0o777 == 0o600
    copy = tmp_path / "copy.key"
    copy.write_bytes(keys[0].read_bytes())
    for mode in (0o640, 0o604, 0o620, 0o610):
        copy.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 600"):
            load_private(copy)
    copy.chmod(0o400)
    load_private(copy)


def test_keys_that_are_there_are_never_replaced(tmp_path: Path):
    private, public = generate(tmp_path)
    before = private.read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        generate(tmp_path)
    private.unlink()
    with pytest.raises(KeyFileError, match="is there already"):
        generate(tmp_path)
    assert not private.exists()
    assert b"PRIVATE" in before
    assert b"PRIVATE" not in public.read_bytes()


def test_what_is_no_key_or_head_is_refused_in_one_sentence(tmp_path: Path):
    path = tmp_path / "odd"
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_private(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_public(path)
    with pytest.raises(LedgerError, match="cannot be read"):
        read_heads(path)
    path.write_bytes(b"\xff nonsense")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no unencrypted private key"):
        load_private(path)
    with pytest.raises(KeyFileError, match="no public key"):
        load_public(path)
    with pytest.raises(LedgerError, match="not a head"):
        read_heads(path)
    path.write_text('{"schema": 2, "sequence": 1, "hash": ""}')
    with pytest.raises(LedgerError, match="schema 2"):
        read_heads(path)
    path.write_text("\n")
    with pytest.raises(LedgerError, match="holds no head"):
        read_heads(path)
    with pytest.raises(LedgerError, match="cannot be written"):
        add_head(tmp_path / "none" / "head", Head(sequence=0, hash=""))


def test_a_key_of_another_kind_is_refused(tmp_path: Path):
    key = generate_private_key(SECP256R1())
    path = tmp_path / "ec.key"
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    with pytest.raises(KeyFileError, match="not for Ed25519"):
        load_private(path)
