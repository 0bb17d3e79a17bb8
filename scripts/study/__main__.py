"""What a person runs beside the rules, from the folder of the pipeline: `python scripts/study COMMAND`."""

import argparse
import importlib
import sys
from pathlib import Path

if not __package__:  # the folder is run: what lies in it is `study.…`, not modules of their own
    sys.path[0] = str(Path(__file__).parents[1])

# Each is a module of its name in study.commands, loaded only if it is asked for: some need PyTorch.
COMMANDS = {
    "init": "Look at a source of images and write config/<name>.yaml for it, with reasons (`make init SOURCE=folder`).",
    "predict": "Label the images of a folder with a trained run (`make predict IMAGES=folder RUN=best`).",
    "export": "Export a trained run as one ONNX file, or .pt2, that needs none of this code (`make export RUN=best`).",
    "watch": "Show every run of a study in the terminal, again and again (`make watch`).",
    "verify": "Check a finished study: hashes, columns, table cells, predictions of the saved weights (`make verify`).",
    "keep": "Keep finished runs in docs/runs without their weights, or restore them from there.",
    "findings": "Write docs/FINDINGS.md from finished runs on the real data (`make findings`).",
    "record": "Write docs/RECORD.md: what a network from scratch reaches on FER2013, and why (`make record`).",
    "imbalance": "Write docs/IMBALANCE.md: which treatment of imbalance wins (`make imbalance`).",
    "reference": "Write the tables of keys and columns into config/README.md, from the schema (`make docs`).",
}


def main(words: list[str]) -> None:
    """Run the command that the words of the command line name; a mistake of the user ends it with one line."""
    from study.errors import StudyError, is_trouble, trouble

    parser = argparse.ArgumentParser(prog="python scripts/study", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    asked_for = next((word for word in words if not word.startswith("-")), "")
    if asked_for not in COMMANDS:
        parser.parse_args(words)  # says what is wrong, or helps, and ends
    module = importlib.import_module(f"study.commands.{asked_for}")
    module.add_arguments(parsers[asked_for])
    try:
        module.run(parser.parse_args(words))
    except StudyError as error:
        sys.exit(f"Error: {error}")
    except (OSError, MemoryError) as error:
        if not is_trouble(error):
            raise
        sys.exit(f"Error: {trouble(error)}")


if __name__ == "__main__":
    main(sys.argv[1:])
