"""Azure's clouds as data: where tokens come from, what registries are called, what federation expects.

Sources: the Azure CLI's cloud table for authority hosts and registry suffixes; Microsoft's page "Configure an
application to trust a managed identity" for the federation audiences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ACR_AUDIENCE: Final = "https://containerregistry.azure.net"
"""The audience of Entra tokens for any registry, the same in every public cloud; works with ARM-audience tokens off."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Describe one Azure cloud. `suffix` begins with a dot; a custom cloud has none of the three."""

    name: str
    suffix: str
    authority_host: str
    federation_audience: str


CLOUDS: Final[Mapping[str, Cloud]] = {
    cloud.name: cloud
    for cloud in (
        Cloud("public", ".azurecr.io", "login.microsoftonline.com", "api://AzureADTokenExchange"),
        Cloud("usgovernment", ".azurecr.us", "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        Cloud("china", ".azurecr.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina"),
    )
}
