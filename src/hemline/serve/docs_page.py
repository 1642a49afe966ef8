"""`/docs`: the API's description as a page that loads nothing, from what `/openapi.json` says."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 code { font-size: 1rem; }
section { border-top: 1px solid GrayText; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
pre { overflow-x: auto; font-size: .85rem; }
"""


def docs_page(document: Mapping[str, Any]) -> tuple[str, str]:
    """The page, and the Content-Security-Policy that lets it have its own style and nothing else.

    Args:
        document: An OpenAPI description.
    """
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    routes = "".join(
        _route(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(info['description'])}</p>"
        '<p><a href="./">The page</a> · <a href="openapi.json">OpenAPI description</a></p>'
        f"<main>{routes}</main>"
        f"<section><h2>Schemas</h2>{''.join(_schemas(document))}</section></body></html>"
    )
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    return html, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def _route(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p><b>{escape(operation['summary'])}.</b> "
        f"{escape(operation.get('description', ''))}</p>"
    ]
    if operation.get("security"):
        parts.append("<p>Needs the token of this server: <code>Authorization: Bearer TOKEN</code></p>")
    if parameters := operation.get("parameters"):
        rows = [(_code(x["name"]), escape(x.get("description", "")), _code(_kind(x["schema"]))) for x in parameters]
        parts.append(_table(("query", "", "values"), rows))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h3>Body: <code>{escape(kind)}</code></h3>{_json(content['schema'])}")
    responses = operation["responses"].items()
    rows = [(_code(status), escape(x["description"]), _code(_answers(x))) for status, x in responses]
    parts.append(_table(("status", "", "answer"), rows))
    return "".join(parts) + "</section>"


def _schemas(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'


def _answers(response: Mapping[str, Any]) -> str:
    return ", ".join(f"{kind}: {_kind(x.get('schema', {}))}" for kind, x in response.get("content", {}).items())


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_kind(x) for x in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"[{_kind(schema['items'])}, ...]"
    ends = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    return f"{schema.get('type', 'text')} {' to '.join(ends)}".strip()


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    heads = "".join(f"<th>{name}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{lines}</table>"


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
