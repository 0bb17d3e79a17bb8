"""Write the table of configuration keys into config/README.md, from the schema (`make docs`)."""

from pathlib import Path

import yaml

from study.settings import markdown

BEGIN, END = "<!-- begin: generated from schemas/config.schema.yaml by `make docs` -->", "<!-- end: generated -->"


def with_reference(readme: str, schema: dict) -> str:
    """The text with the part between the two marks replaced by the schema's table."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{markdown(schema)}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    folder = Path(__file__).parent.parent / "config"
    schema = yaml.safe_load((folder / "schemas/config.schema.yaml").read_text(encoding="utf-8"))
    readme = folder / "README.md"
    readme.write_text(with_reference(readme.read_text(encoding="utf-8"), schema), encoding="utf-8")
