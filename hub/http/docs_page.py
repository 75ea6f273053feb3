"""The API's description as a page for people: no script, nothing from elsewhere, readable with the strictest policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hub.http.calls import NO_ROLE, ROLE_KEY

_REFERENCE = "#/components/schemas/"


def docs_page(description: Mapping[str, Any]) -> bytes:
    """Return the page.

    Args:
        description: the OpenAPI description.
    """
    info = description["info"]
    calls: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        for method, call in methods.items():
            calls.setdefault(call["tags"][0], []).append(_call(method.upper(), path, call))
    schemas = description["components"]["schemas"]
    sections = "".join(_section(tag, tag.capitalize(), found) for tag, found in calls.items())
    links = "".join(f'<li><a href="#{escape(tag)}">{escape(tag.capitalize())}</a></li>' for tag in [*calls, "schemas"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(info["title"])} API</title>
<link rel="icon" type="image/svg+xml" href="dashboard/mark.svg">
<link rel="stylesheet" href="docs.css">
</head>
<body>
<header>
<h1>{escape(info["title"])} API <small>{escape(info["version"])}</small></h1>
<p>{_text(info["description"])} The same for programs: <a href="openapi.json">openapi.json</a>.</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{sections}
{_section("schemas", "Schemas", [_schema(name, schemas[name]) for name in sorted(schemas)])}
</main>
</body>
</html>
""".encode()


def _section(anchor: str, title: str, parts: Iterable[str]) -> str:
    return f'<section><h2 id="{escape(anchor)}">{escape(title)}</h2>{"".join(parts)}</section>'


def _call(method: str, path: str, call: Mapping[str, Any]) -> str:
    role = call.get(ROLE_KEY, NO_ROLE)
    needed = "" if role == NO_ROLE else f'<span class="role">{escape(role)}</span>'
    parts = [f"<p>{_text(call['description'])}</p>" if call.get("description") else ""]
    if parameters := call.get("parameters"):
        rows = [
            (f"<code>{escape(one['name'])}</code>", escape(one["in"]), _type(one["schema"]), _parameter_text(one))
            for one in parameters
        ]
        parts.append(_table("Parameters", ("name", "in", "type", "meaning"), rows))
    if body := call.get("requestBody"):
        required = "required" if body.get("required") else "may be left out"
        types = "".join(_type(one["schema"]) for one in body["content"].values())
        parts.append(f"<p>Body ({required}): {types}</p>")
    answers = [(escape(status), _contents(one), _text(one["description"])) for status, one in call["responses"].items()]
    parts.append(_table("Answers", ("status", "content", "meaning"), answers))
    return (
        f'<details id="{escape(call["operationId"])}"><summary><span class="method {method.lower()}">{method}</span> '
        f"<code>{escape(path)}</code> <span>{escape(call['summary'])}</span> {needed}</summary>{''.join(parts)}</details>"
    )


def _parameter_text(parameter: Mapping[str, Any]) -> str:
    default = parameter["schema"].get("default")
    said = _text(parameter.get("description", ""))
    return said if default is None or default == "" else f"{said} Default: <code>{escape(_literal(default))}</code>."


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _contents(response: Mapping[str, Any]) -> str:
    return "<br>".join(
        f"{_type(one['schema'])} <small>{escape(media_type)}</small>"
        for media_type, one in response.get("content", {}).items()
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = [
        (f"<code>{escape(member)}</code>", _type(one), _text(one.get("description", "")))
        for member, one in schema.get("properties", {}).items()
    ]
    values = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", ()))
    members = _table("Members", ("name", "type", "meaning"), rows) if rows else f"<p>One of {values}.</p>"
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<p>{_text(schema.get('description', ''))}</p>{members}</details>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = str(reference).removeprefix(_REFERENCE)
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if choices := schema.get("anyOf"):
        return " or ".join(_type(one) for one in choices)
    if values := schema.get("enum"):
        return " ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    inner: Mapping[str, Any] | bool = schema.get("additionalProperties", False)
    if not isinstance(inner, bool):
        return f"object of {_type(inner)}"
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return escape(" ".join([str(schema.get("type", "any")), *bounds]))


_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "pattern": "like"}


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{table}</table></div>'


def _text(text: str) -> str:
    """Return a description with its code and its paragraphs."""
    parts = escape(text).split("`")
    coded = "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
    return coded.replace("\n\n", "</p><p>")
