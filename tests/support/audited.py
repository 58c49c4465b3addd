"""A summary with verdicts, as the command line shows it."""

from archcalc import audit
from archcalc.render.tables.summaries import summarize


def audited(report, *arguments, **options):
    return summarize(report, *arguments, verdicts=audit(report, layers=False), **options)
