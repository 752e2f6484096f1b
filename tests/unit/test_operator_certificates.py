"""When certificates of our own are made anew, without a cluster."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import DNSName, IPAddress, SubjectAlternativeName
from hypothesis import given, settings
from hypothesis import strategies as st

from leat_operator.certificates import AUTHORITY_LIFE, OVERLAP, SERVING_LIFE, Material, renewed

NAMES = ("leat-operator.leat-system.svc", "127.0.0.1")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def trusted(authorities, certificate):
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, InvalidSignature):
            continue
        return True
    return False


def test_nothing_is_made_while_nothing_is_due():
    made = renewed(None, NAMES, NOW)
    assert renewed(made, NAMES, NOW) is made
    assert renewed(made, NAMES, NOW + SERVING_LIFE / 2) is made


def test_the_certificate_is_for_the_names_that_it_is_called_by():
    found = renewed(None, NAMES, NOW).certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert found.get_values_for_type(DNSName) == [NAMES[0]]
    assert [str(address) for address in found.get_values_for_type(IPAddress)] == [NAMES[1]]


def test_what_was_written_is_read_back():
    made = renewed(None, NAMES, NOW)
    read = Material.of(made.data())
    assert (read.authorities, read.certificate) == (made.authorities, made.certificate)
    assert renewed(read, NAMES, NOW) is read


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_by_the_same_authority():
    made = renewed(None, NAMES, NOW)
    later = renewed(made, NAMES, NOW + SERVING_LIFE * 2 / 3 + DAY)
    assert later.certificate != made.certificate
    assert later.authorities == made.authorities


def test_a_certificate_without_names_that_somebody_put_there_is_replaced():
    made = renewed(None, NAMES, NOW)
    nameless = (
        x509.CertificateBuilder(made.authorities[0].subject, made.certificate.subject, made.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .sign(made.authority_key, hashes.SHA256())
    )
    found = renewed(replace(made, certificate=nameless), NAMES, NOW)
    assert found.certificate != nameless
    assert found.authorities == made.authorities


def test_other_names_need_another_certificate():
    made = renewed(None, NAMES, NOW)
    other = renewed(made, ("elsewhere.svc",), NOW)
    assert other.certificate != made.certificate
    assert other.authorities == made.authorities


def test_a_new_authority_is_known_for_a_while_before_it_signs_and_the_old_one_stays_for_a_while_after():
    made = renewed(None, NAMES, NOW)
    at = NOW + AUTHORITY_LIFE * 2 / 3
    announced = renewed(renewed(made, NAMES, at - DAY), NAMES, at)
    assert len(announced.authorities) == 2
    assert trusted(announced.authorities[1:], announced.certificate)
    assert renewed(announced, NAMES, at + OVERLAP / 2) is announced
    signed = renewed(announced, NAMES, at + OVERLAP)
    assert trusted(signed.authorities[:1], signed.certificate)
    assert len(signed.authorities) == 2
    (left,) = renewed(signed, NAMES, at + 2 * OVERLAP).authorities
    assert left == announced.authorities[0]


def test_after_years_of_silence_all_is_made_anew():
    made = renewed(None, NAMES, NOW)
    assert renewed(made, NAMES, NOW + 2 * AUTHORITY_LIFE).authorities != made.authorities


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("value", [None, "", "no base64", base64.b64encode(b"no PEM").decode()])
def test_a_secret_that_is_none_of_ours_is_named_so(key, value):
    data = renewed(None, NAMES, NOW).data()
    data.pop(key)
    with pytest.raises(ValueError, match=r"\S"):
        Material.of(data if value is None else {**data, key: value})


def test_a_key_of_another_certificate_is_not_taken():
    one, other = renewed(None, NAMES, NOW).data(), renewed(None, NAMES, NOW).data()
    with pytest.raises(ValueError, match="does not belong"):
        Material.of({**one, "tls.key": other["tls.key"]})


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(10, 40 * 24 * 60), min_size=60, max_size=120))
def test_whoever_has_not_looked_again_yet_still_trusts_and_is_trusted(minutes):
    """The API server may have the bundle of one look ago, and a replica may show the certificate of one look ago."""
    now, before = NOW, renewed(None, NAMES, NOW)
    for step in minutes:
        now += timedelta(minutes=step)
        after = renewed(before, NAMES, now)
        assert after.certificate.not_valid_before_utc <= now < after.certificate.not_valid_after_utc
        assert trusted(before.authorities, after.certificate)
        assert trusted(after.authorities, before.certificate)
        assert len(after.authorities) <= 2
        before = after
