"""Snakemake's report made small, quick to open, and readable where scripts are blocked.

Snakemake writes every result into its report as a data URI, and the text of its first page into a script. Here each
result is put once at the end of the page, gzipped, to be unpacked by `templates/report_page.js` when it is looked at,
and the first page becomes part of the page itself: it is there before any script has run, and where none may.

Entry point:
    small(report, folder, loader) -> str                   the report, from the one that Snakemake wrote
"""

import base64
import gzip
import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.errors import StudyError

# What the page needs of a Content-Security-Policy; 'unsafe-eval' is for the graph of rules.
ALLOWED = (
    "sandbox allow-scripts; default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; frame-src blob:"
)
# What stands in place of Snakemake's "Please enable Javascript": hidden by Snakemake's own script as soon as one runs.
WITHOUT_SCRIPTS = f"""\
<p id="jswarning"><strong>Scripts are blocked here.</strong> So this page has no menu and nothing in it sorts; figures
show only where they lie beside it, in the folder figures. The text is below. To see all of it, open the page from a
disk in a browser; the table of all runs is tables/comparison.html, every other one is in the folder tables. Jenkins
blocks scripts in archived pages: an administrator allows them by a Resource Root URL (Manage Jenkins, System), or by
the property hudson.model.DirectoryBrowserSupport.CSP with the value
"{ALLOWED}".</p>"""

# Pieces of Snakemake's page, each of which has to be there once.
WARNING = re.compile(r'<p id="loading-animation">[^<]*</p>\s*<p id="jswarning">[^<]*</p>')
EMPTY_APP = re.compile(r'<div id="app">\s*</div>')
FIRST_PAGE = re.compile(r'(?<=<script id="workflow-desc">)\s*var workflow_desc = (?P<json>.*);\n')
RESULTS = re.compile(r'(?<=<script id="results">)\s*var results = (?P<json>.*);\n')
START = re.compile(r"const root = ReactDOM\.createRoot\(")
END = re.compile(r"</body>\s*</html>\s*$")

PLACED = re.compile(r'<study-result src="(?P<file>[^"]*)"')


def small(report: str, folder: Path, loader: str) -> str:
    """The report with each result in it once.

    Args:
        report: what `snakemake --report` wrote.
        folder: the one that the page will lie in; results are known by their paths below it.
        loader: the script that unpacks results.

    Raises:
        StudyError: Snakemake's page is not made as it is known here, or the first page shows what is no result.
    """
    first_page = json.loads(_found(FIRST_PAGE, report)["json"])
    results = json.loads(_found(RESULTS, report)["json"])
    contents = {os.path.relpath(path, folder): result["data_uri"].partition(",")[2] for path, result in results.items()}
    if missing := sorted(set(map(html.unescape, PLACED.findall(first_page))) - set(contents)):
        raise StudyError(f"the first page shows {', '.join(missing)}: no result of the report")
    for piece, text in (
        (WARNING, WITHOUT_SCRIPTS),
        (EMPTY_APP, f'<div id="app">{first_page}</div>'),
        (FIRST_PAGE, '\nvar workflow_desc = document.querySelector("#app").innerHTML;\n'),
        (RESULTS, _results(results, folder)),
        (START, f"{loader}\nconst root = ReactDOM.createRoot("),
        (END, "\n".join([*(_packed(file, content) for file, content in contents.items()), "</body>\n</html>\n"])),
    ):
        match = _found(piece, report)
        report = report[: match.start()] + text + report[match.end() :]
    return report


def _found(piece: re.Pattern[str], report: str) -> re.Match[str]:
    """Where a piece of Snakemake's page is."""
    if len(found := list(piece.finditer(report))) != 1:
        raise StudyError(
            f"Snakemake's report has {len(found)} places like '{piece.pattern}', where one is known: its template has "
            "changed, and scripts/study/report/report_page.py has to follow"
        )
    return found[0]


def _results(results: Mapping[str, dict[str, Any]], folder: Path) -> str:
    """What the menu lists, without the contents; texts that many results share are listed once, by number."""
    texts: dict[str, int] = {}
    for path, result in results.items():
        result["data_uri"] = f"packed:{os.path.relpath(path, folder)}"
        job = result["job_properties"]
        job["params"] = texts.setdefault(job["params"], len(texts))
    shared, listed = (json.dumps(part).replace("</", "<\\/") for part in (list(texts), results))
    return f"\nvar shared_texts = {shared};\nvar results = {listed};\n"


def _packed(file: str, content: str) -> str:
    """A result as a script that no browser runs: base64 of gzip, which is the same for the same content."""
    data = base64.b64encode(gzip.compress(base64.b64decode(content), mtime=0)).decode("ascii")
    return f'<script type="application/gzip" data-result="{html.escape(file)}">{data}</script>'
