"""Whether an event of the log fits docs/events.schema.json. Of JSON Schema it knows what that file uses, and no more."""
import json
import os
import re

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "events.schema.json")
with open(FILE) as file:
    SCHEMA = json.load(file)
TYPES = {"object": dict, "array": list, "string": str, "integer": int}
EVENTS = {f"#/$defs/{name}": kind["properties"]["event"]["const"] for name, kind in SCHEMA["$defs"].items() if "properties" in kind}


def wrong(value, schema=SCHEMA, place=""):
    """What is wrong with it."""
    found = []
    for word, want in schema.items():
        if word in ("$schema", "title", "description", "$defs"):
            continue
        elif word == "type":
            fits = isinstance(value, TYPES[want]) and not isinstance(value, bool)
        elif word == "const":
            fits = value == want
        elif word == "enum":
            fits = value in want
        elif word == "pattern":
            fits = not isinstance(value, str) or re.search(want, value)
        elif word == "minimum":
            fits = not isinstance(value, int) or value >= want
        elif word == "minItems":
            fits = not isinstance(value, list) or len(value) >= want
        elif word == "maxItems":
            fits = not isinstance(value, list) or len(value) <= want
        elif word == "required":
            fits = not isinstance(value, dict) or not [name for name in want if name not in value]
        elif word == "additionalProperties":
            fits = not isinstance(value, dict) or not [name for name in value if name not in schema["properties"]]
        else:
            fits = True
            if word == "$ref":
                found += wrong(value, SCHEMA["$defs"][want.removeprefix("#/$defs/")], place)
            elif word == "properties":
                for name, one in want.items():
                    found += wrong(value[name], one, f"{place}/{name}") if isinstance(value, dict) and name in value else []
            elif word == "items":
                for at, one in enumerate(value if isinstance(value, list) else []):
                    found += wrong(one, want, f"{place}/{at}")
            elif word == "oneOf":
                # Those of other events are not of interest.
                mine = [one for one in want if EVENTS[one["$ref"]] == value.get("event")]
                each = [wrong(value, one, place) for one in mine]
                if len([one for one in each if not one]) != 1:
                    found += min(each, key=len, default=[]) + [f"{place}: it is not of one kind"]
            else:
                raise AssertionError(f"{word} is not known here")
        if not fits:
            found.append(f"{place}: {value!r} is not as {word} {want!r} wants it")
    return found
