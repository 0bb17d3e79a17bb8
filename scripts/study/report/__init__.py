"""From tables to what a person looks at.

In come the comparison and its tables. Out go figures, the report's first page, the page that sorts and filters, and
the pages of docs/ that are written from finished runs.

    all_figures         every figure, declared once: file, caption, place on the first page
    figures/            the drawing; colours, that of a failed run among them, are in style
    answer              the answer and its caution in words
    case_text           a case's table as Markdown and as cells
    comparison_page     the page that sorts and filters: comparison.html
    first_page          the first page of the report: summary.rst
    report_page         Snakemake's report made small: report.html
    findings_page       docs/FINDINGS.md
    imbalance           docs/IMBALANCE.md
    record_page         docs/RECORD.md
    shown               which of many recipes are shown
    symbols             the signs that stand before a verdict
    templates/          the HTML and Markdown of these pages
"""
