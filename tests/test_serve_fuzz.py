"""The API asked all that its own description allows, and what it forbids: no answer is undescribed, none is a 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from hemline.serve.app import make_app
from hemline.serve.settings import Settings
from tests.primary import colour_tagger

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
schema = schemathesis.openapi.from_asgi("/openapi.json", make_app(colour_tagger(), Settings()))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@schema.parametrize()
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_to_its_description(case):
    case.call_and_validate(checks=CHECKS)
