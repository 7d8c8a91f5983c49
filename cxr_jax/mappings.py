"""A YAML mapping, from a file or as it is written on a command line, each key once."""

from pathlib import Path
from typing import Any

import yaml

from cxr_jax.errors import InputError


def read_mapping(given: str, wanted: str) -> dict[Any, Any]:
    """The mapping in a file, or in `given` itself where that begins with "{".

    Args:
      wanted: what it is of, for messages: "labels and sentences".

    Raises:
      InputError: it cannot be read, is not YAML, is no mapping, or has a key twice.
    """
    try:
        text = given if given.lstrip().startswith("{") else Path(given).expanduser().read_text(encoding="utf-8")
        content = yaml.load(text, _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{given}: cannot be read ({error}); give a YAML file of {wanted}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        where = f"line {mark.line + 1}: " if mark else ""
        raise InputError(f"{given}: {where}not YAML of {wanted} ({problem}); mend it there") from error
    if not isinstance(content, dict):
        raise InputError(f"{given}: holds no mapping of {wanted}; write lines such as Cardiomegaly: {{}}")
    return content


class _Loader(yaml.SafeLoader):
    """yaml.safe_load's, which takes the last of two equal keys without a word: this one refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = key.value.strip().casefold()
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(name)
        return super().construct_mapping(node, deep)
