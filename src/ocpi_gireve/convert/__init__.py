"""2.1.1 <-> 2.2.1, object by object, with the list of what could not be carried; knows no connection.

Every function returns `Converted`: the new object and its losses. What a partner sent is converted as it is:
a text that is too long for the other version goes on, and is reported. Numbers keep their digits, and `extra`
goes on unchanged at every level.
"""

from __future__ import annotations

from .cdrs import (
    cdr_to_211,
    cdr_to_221,
    cdr_token,
)
from .commands import (
    command_response_to_211,
    command_response_to_221,
    command_result_to_211,
    command_result_to_221,
    reserve_now_to_211,
    reserve_now_to_221,
    start_session_to_211,
    start_session_to_221,
    stop_session_to_211,
    stop_session_to_221,
    unlock_connector_to_211,
    unlock_connector_to_221,
)
from .credentials import (
    credentials_to_211,
    credentials_to_221,
)
from .locations import (
    business_details_to_211,
    business_details_to_221,
    connector_patch_to_211,
    connector_patch_to_221,
    connector_to_211,
    connector_to_221,
    evse_patch_to_211,
    evse_patch_to_221,
    evse_to_211,
    evse_to_221,
    location_patch_to_211,
    location_patch_to_221,
    location_to_211,
    location_to_221,
)
from .parties import (
    cpo_of,
    emsp_of,
    emsp_of_contract,
)
from .result import (
    Converted,
    Loss,
    NotConvertible,
)
from .sessions import (
    session_patch_to_211,
    session_patch_to_221,
    session_to_211,
    session_to_221,
)
from .tariffs import (
    tariff_to_211,
    tariff_to_221,
)
from .tokens import (
    authorization_info_to_211,
    authorization_info_to_221,
    location_references_to_211,
    location_references_to_221,
    token_patch_to_211,
    token_patch_to_221,
    token_to_211,
    token_to_221,
)

__all__ = [
    "Converted",
    "Loss",
    "NotConvertible",
    "authorization_info_to_211",
    "authorization_info_to_221",
    "business_details_to_211",
    "business_details_to_221",
    "cdr_to_211",
    "cdr_to_221",
    "cdr_token",
    "command_response_to_211",
    "command_response_to_221",
    "command_result_to_211",
    "command_result_to_221",
    "connector_patch_to_211",
    "connector_patch_to_221",
    "connector_to_211",
    "connector_to_221",
    "cpo_of",
    "credentials_to_211",
    "credentials_to_221",
    "emsp_of",
    "emsp_of_contract",
    "evse_patch_to_211",
    "evse_patch_to_221",
    "evse_to_211",
    "evse_to_221",
    "location_patch_to_211",
    "location_patch_to_221",
    "location_references_to_211",
    "location_references_to_221",
    "location_to_211",
    "location_to_221",
    "reserve_now_to_211",
    "reserve_now_to_221",
    "session_patch_to_211",
    "session_patch_to_221",
    "session_to_211",
    "session_to_221",
    "start_session_to_211",
    "start_session_to_221",
    "stop_session_to_211",
    "stop_session_to_221",
    "tariff_to_211",
    "tariff_to_221",
    "token_patch_to_211",
    "token_patch_to_221",
    "token_to_211",
    "token_to_221",
    "unlock_connector_to_211",
    "unlock_connector_to_221",
]
