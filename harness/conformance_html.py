# SPDX-License-Identifier: MIT
"""The conformance matrix as one HTML file that needs nothing else: rows are clauses, columns VMM,
transport and ring; a cell that did not pass opens to what was expected, what came, and how to
repeat it."""

from html import escape

STYLE = """
:root { color-scheme: light dark; --edge: #8884; --head: light-dark(#f3f3f0, #26282b);
  --page: light-dark(#fff, #17181a); --text: light-dark(#1b1c1e, #e4e4e2); }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.2rem; background: var(--page); color: var(--text); }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; }
table { border-collapse: separate; border-spacing: 0; }
th, td { border-right: 1px solid var(--edge); border-bottom: 1px solid var(--edge); padding: .2rem .45rem;
  text-align: left; vertical-align: top; }
.totals td { text-align: right; } .totals td:first-child, .totals td:nth-child(2) { text-align: left; }
.matrix { margin-top: 1rem; }
.matrix thead th { position: sticky; background: var(--head); z-index: 2; text-align: center; height: 1.5rem; }
.matrix thead tr:nth-child(1) th { top: 0; } .matrix thead tr:nth-child(2) th { top: 1.95rem; }
.matrix thead tr:nth-child(3) th { top: 3.9rem; }
.matrix .area th { background: var(--head); font-weight: 600; }
.id { font-family: ui-monospace, monospace; white-space: nowrap; } .level { white-space: nowrap; font-size: .85em; }
.says { min-width: 18rem; } .more { opacity: .65; font-size: .85em; }
.v { text-align: center; font-size: .8em; font-weight: 600; color: #111; }
.PASS { background: #8fd19e; } .FAIL { background: #f08a80; } .XFAIL { background: #f5b7a6; }
.DEVIATES { background: #f4d35e; } .AMBIGUOUS { background: #c9b6e4; } .SKIP { background: #d5d9dd; }
.NOT-RUN { background: #e6e6e6; } .none { color: inherit; opacity: .3; }
details summary { cursor: pointer; list-style: none; } details { position: relative; }
details > div { position: absolute; right: 0; z-index: 3; width: min(44rem, 80vw); text-align: left; font-weight: 400;
  background: var(--page); color: var(--text); border: 1px solid #888; border-radius: 4px; padding: .6rem .8rem;
  box-shadow: 0 4px 18px #0005; font-size: 1.1em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--head); padding: .4rem; margin: .3rem 0; }
.key span { display: inline-block; padding: .1rem .5rem; margin-right: .3rem; color: #111; font-size: .85em; }
.pick { margin: .8rem 0; display: flex; gap: 1rem; flex-wrap: wrap; align-items: center; }
"""

SCRIPT = """
const rows = [...document.querySelectorAll('tr.clause')], areas = [...document.querySelectorAll('tr.area')];
const find = document.getElementById('find'), side = document.getElementById('side'), show = document.getElementById('show');
function pick() {
  const word = find.value.toLowerCase();
  for (const row of rows) {
    const is = row.dataset;
    const shown = (!side.value || is.side === side.value) && (!word || row.textContent.toLowerCase().includes(word)) &&
      (show.value === 'all' || (show.value === 'scope' && is.scope) || (show.value === 'claimed' && is.claimed) ||
       (show.value === 'bad' && is.bad) || (show.value === 'left' && is.scope && !is.claimed));
    row.hidden = !shown;
  }
  for (const area of areas) area.hidden = !rows.some(row => !row.hidden && row.dataset.area === area.dataset.area);
}
for (const input of [find, side, show]) input.addEventListener('input', pick);
document.addEventListener('click', event => {
  for (const open of document.querySelectorAll('details[open]')) if (!open.contains(event.target)) open.open = false;
});
pick();
"""

KEY = {
    "PASS": "a TEST that claims the clause ran here and passed",
    "FAIL": "violated",
    "XFAIL": "violated, known: a finding",
    "DEVIATES": "a SHOULD that is not kept",
    "AMBIGUOUS": "the text contradicts itself",
    "SKIP": "claimed, but no TEST could run",
}
SHORT = {"PASS": "pass", "FAIL": "FAIL", "XFAIL": "finding", "DEVIATES": "deviates", "SKIP": "skip"}


def page(matrix):
    body = [
        "<h1>Virtio conformance</h1>",
        "<p>Clauses of virtio 1.4 by VMM, transport and ring, from the TESTs of one run. Only a TEST that ran "
        "claims anything. What a cell says that did not pass stands behind it.</p>",
        '<p class="key">' + "".join(
            f'<span class="{word}" title="{escape(text)}">{SHORT.get(word, word.lower())}: {escape(text)}</span>'
            for word, text in KEY.items()
        ) + "</p>",
        *_totals(matrix),
        '<div class="pick"><label>show <select id="show"><option value="scope">rows of these areas</option>'
        '<option value="bad">what did not pass</option><option value="left">what no TEST claims</option>'
        '<option value="claimed">what is claimed</option><option value="all">all rows of the specification</option>'
        '</select></label><label>side <select id="side"><option value="">both</option><option>device</option>'
        '<option>driver</option></select></label><label>find <input id="find" type="search"></label></div>',
        *_table(matrix),
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Virtio conformance</title>\n'
        f"<style>{STYLE}</style>\n<body>\n" + "\n".join(body) + f"\n<script>{SCRIPT}</script>\n</body></html>\n"
    )


def _totals(matrix):
    from .conformance import TOTALS

    lines = ['<table class="totals"><tr>']
    lines += [f"<th>{name}</th>" for name in ("VMM", "rows of", *TOTALS.values())]
    lines.append("</tr>")
    for words in matrix.totals():
        lines.append("<tr>" + "".join(f"<td>{escape(str(word))}</td>" for word in words) + "</tr>")
    lines.append("</table>")
    return lines


def _spans(keys):
    """[(key, how many columns in a row)]"""
    found = []
    for key in keys:
        if found and found[-1][0] == key:
            found[-1][1] += 1
        else:
            found.append([key, 1])
    return found


def _table(matrix):
    columns = matrix.columns
    one = list(columns.values())
    lines = ['<table class="matrix"><thead><tr><th rowspan="3">clause</th><th rowspan="3">level</th><th rowspan="3">says</th>']
    for (vmm, engine, version), width in _spans([(r.vmm, r.engine, r.version) for r in one]):
        lines.append(f'<th colspan="{width}">{escape(vmm)} {escape(version)}, {escape(engine)}</th>')
    lines.append("</tr><tr>")
    for (_, _, transport), width in _spans([(r.vmm, r.engine, r.transport) for r in one]):
        lines.append(f'<th colspan="{width}">{escape(transport)}</th>')
    lines.append("</tr><tr>" + "".join(f"<th>{escape(r.ring)}</th>" for r in one) + "</tr></thead><tbody>")
    area = None
    for clause in matrix.clauses.values():
        if clause.area != area:
            area = clause.area
            lines.append(
                f'<tr class="area" data-area="{escape(area)}"><th colspan="{3 + len(one)}">{escape(area)}</th></tr>'
            )
        lines.append(_row(matrix, clause))
    lines.append("</tbody></table>")
    return lines


def _row(matrix, clause):
    from .conformance import TOLD, in_scope, visible

    cells = {name: matrix.cell(clause.id, name) for name in matrix.columns}
    ran = [cell.verdict for cell in cells.values() if cell and cell.verdict not in ("SKIP", "NOT RUN")]
    flags = f'data-side="{clause.side}" data-area="{escape(clause.area)}"'
    flags += ' data-scope="1"' if in_scope(clause) and visible(clause) else ""
    flags += ' data-claimed="1"' if ran else ""
    flags += ' data-bad="1"' if any(word in TOLD for word in ran) else ""
    feature = "" if clause.feature == "-" else f" {clause.feature}"
    more = f"{clause.side}, {clause.source}{feature}"
    note = matrix.notes.get(clause.id)
    if note:
        more += f"; {note.kind}: {note.text}"
    text = f'<tr class="clause" {flags}><td class="id">{clause.id}</td><td class="level">{escape(clause.level)}</td>'
    text += f'<td class="says">{escape(clause.summary)}<br><span class="more">{escape(more)}</span></td>'
    return text + "".join(_cell(cell, TOLD) for cell in cells.values()) + "</tr>"


def _cell(cell, told):
    if cell is None:
        return '<td class="v none">·</td>'
    kind = cell.verdict.replace(" ", "-")
    word = SHORT.get(cell.verdict, cell.verdict.lower())
    names = ", ".join(f"{result.test} on {result.machine}: {result.verdict}" for _, result in cell.results)
    if cell.verdict not in told:
        return f'<td class="v {kind}" title="{escape(names)}">{word}</td>'
    parts = [f'<td class="v {kind}"><details><summary>{word}</summary><div>']
    for verdict, result in cell.results:
        if verdict not in told:
            continue
        parts.append(f"<p><b>{escape(result.verdict)} {escape(result.test)}</b> on {escape(result.machine)}<br>")
        parts.append(f"Required: {escape(result.sentence)}</p>")
        came = [line for line in (result.reason, *result.said) if line]
        if came:
            parts.append("<pre>" + escape("\n".join(came)) + "</pre>")
        if result.command:
            parts.append("Again:<pre>" + escape(result.command) + "</pre>")
        if result.again:
            parts.append("Under the harness:<pre>" + escape(result.again) + "</pre>")
    return "".join(parts) + "</div></details></td>"
