"""Fixtures for verification: an issuer with every kind of key, a trap that nobody may call, a clock turned by hand."""

from collections.abc import Iterator

import pytest

from devstack.certs import TestAuthority
from tests.oidc.forge import Forge, Hands, Keys, Site, published
from vending.http_client import Http
from vending.oidc.verify import Verifier


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="session")
def forge(keys: Keys) -> Iterator[Forge]:
    with Site(jwks=published(keys)) as site, Site() as trap:
        yield Forge(keys, site, trap)


@pytest.fixture
def site(keys: Keys) -> Iterator[Site]:
    """An issuer of the test's own, with one RSA key."""
    with Site(jwks=published(keys)[:1]) as own:
        yield own


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """A private certificate authority."""
    return TestAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def authority_pem(authority: TestAuthority) -> str:
    return authority.ca_file.read_text()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def verifier(http: Http, hands: Hands) -> Verifier:
    return Verifier(http, hands.clock, allow_loopback=True)
