# SPDX-License-Identifier: MIT
"""The conformance matrix as one HTML file that needs nothing else: rows are clauses, columns VMM,
transport and ring; a cell that did not pass opens to what was expected, what came, and how to
repeat it."""

from html import escape

STYLE = """
:root { color-scheme: light dark; --edge: #8884; --head: #f3f3f0; --page: #fff; --text: #1b1c1e; }
@media (prefers-color-scheme: dark) { :root { --head: #26282b; --page: #17181a; --text: #e4e4e2; } }
body { font: 14px/1.35 system-ui, sans-serif; margin: 1rem; background: var(--page); color: var(--text); }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } p { margin: .4rem 0; max-width: 70rem; }
table { border-collapse: separate; border-spacing: 0; }
th, td { border-right: 1px solid var(--edge); border-bottom: 1px solid var(--edge); padding: .15rem .4rem;
  text-align: left; vertical-align: top; }
.totals th { max-width: 7rem; vertical-align: bottom; }
.totals td { text-align: right; } .totals td:first-child, .totals td:nth-child(2) { text-align: left; }
.matrix { margin-top: .6rem; }
.matrix thead { position: sticky; top: 0; z-index: 2; }
.matrix thead th { background: var(--head); text-align: center; vertical-align: middle; font-size: .8rem; padding: .15rem .2rem; }
.matrix .area th { background: var(--head); font-weight: 600; } .area span { position: sticky; left: .4rem; }
.matrix .id, .matrix thead .corner { position: sticky; left: 0; background: var(--page); z-index: 1; }
.matrix thead .corner { background: var(--head); }
.id { font-family: ui-monospace, monospace; font-size: .9em; white-space: nowrap; } .id a { color: inherit; text-decoration: none; }
.id small { display: block; opacity: .75; } .first { border-left: 2px solid #888; }
td[id] { scroll-margin: 9rem 1rem 1rem; } .says { min-width: 17rem; max-width: 30rem; } .more { opacity: .7; font-size: .85em; }
.v { text-align: center; vertical-align: middle; font-size: .74rem; font-weight: 600; color: #111; padding: .15rem; min-width: 2.9rem; }
.PASS { background: #a9dcb4; font-weight: 400; } .FAIL { background: #e8564a; } .XFAIL { background: #f5b08f; }
.DEVIATES { background: #f4d35e; } .AMBIGUOUS { background: #c9b6e4; } .SKIP { background: #d5d9dd; font-weight: 400; }
.NOT-RUN { background: #e6e6e6; font-weight: 400; } .none { color: inherit; font-weight: 400; opacity: .6; }
.none[colspan] { text-align: left; padding-left: .6rem; opacity: .8; }
.count { font-weight: 400; } .count b { color: #b3261e; } @media (prefers-color-scheme: dark) { .count b { color: #ff8a80; } }
summary { cursor: pointer; list-style: none; text-decoration: underline dotted; padding: .3rem 0; }
summary::-webkit-details-marker { display: none; }
details > div { position: fixed; left: 1rem; right: 1rem; bottom: 1rem; max-width: 78rem; max-height: 60vh; margin: auto;
  box-sizing: border-box; overflow: auto; z-index: 5; text-align: left; font-weight: 400; font-size: .95rem; cursor: auto;
  background: var(--page); color: var(--text); border: 2px solid #888; border-radius: 6px; padding: .6rem .9rem; box-shadow: 0 4px 24px #0008; }
details h2 { font-size: 1rem; margin: 0 2rem .4rem 0; } details[open] > summary { outline: 3px solid #2563eb; }
.close { position: sticky; top: 0; float: right; font: inherit; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--head); padding: .4rem; margin: .2rem 0 .6rem; font-size: .85rem; }
.key span { display: inline-block; padding: .1rem .5rem; margin: 0 .3rem .2rem 0; color: #111; font-size: .85em; }
.pick { margin: .6rem 0; display: flex; gap: 1rem; flex-wrap: wrap; align-items: center; }
@media (max-width: 60rem) { body { margin: .5rem; } .says { min-width: 11rem; } .says .more { display: none; } }
@media (max-width: 40rem) { .says { min-width: 8rem; font-size: .85rem; } .matrix .id { font-size: .7rem; } }
"""

SCRIPT = """
const rows = [...document.querySelectorAll('tr.clause')], areas = [...document.querySelectorAll('tr.area')];
const find = document.getElementById('find'), side = document.getElementById('side'), show = document.getElementById('show');
function pick() {
  const word = find.value.toLowerCase();
  let count = 0;
  for (const row of rows) {
    const is = row.dataset;
    const shown = (!side.value || is.side === side.value) && (!word || row.textContent.toLowerCase().includes(word)) &&
      (show.value === 'all' || (show.value === 'scope' && is.scope) || (show.value === 'claimed' && is.claimed) ||
       (show.value === 'bad' && is.bad) || (show.value === 'left' && is.scope && !is.claimed));
    row.hidden = !shown;
    count += shown ? 1 : 0;
  }
  document.getElementById('shown').textContent = count + ' clauses';
  for (const area of areas) area.hidden = !rows.some(row => !row.hidden && row.dataset.area === area.dataset.area);
}
function close(but) {
  for (const open of document.querySelectorAll('details[open]')) if (open !== but) open.open = false;
}
function go() {  /* #CLAUSE, or #CLAUSE/COLUMN: that cell, opened */
  const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!at) return;
  const row = at.closest('tr');
  if (row.hidden) { show.value = 'all'; side.value = find.value = ''; pick(); }
  const told = at.querySelector(':scope > details');
  if (told) { close(told); told.open = true; }
  at.scrollIntoView({block: 'start', inline: told ? 'center' : 'nearest'});
}
for (const input of [find, side, show]) input.addEventListener('input', pick);
document.addEventListener('click', event => {
  const inside = event.target.closest('details');
  if (event.target.matches('.close')) close(null); else close(inside);
});
document.addEventListener('keydown', event => { if (event.key === 'Escape') close(null); });
document.addEventListener('toggle', event => {
  const cell = event.target.closest('td');
  if (event.target.open && cell && cell.id) history.replaceState(null, '', '#' + cell.id);
}, true);
window.addEventListener('hashchange', go);
pick();
go();
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
        "claims anything. A cell that did not pass opens: what was required, what came, how to repeat it; Escape closes it.</p>",
        '<p class="key">' + "".join(
            f'<span class="{word}">{SHORT.get(word, word.lower())}: {escape(text)}</span>' for word, text in KEY.items()
        ) + "</p>",
        *_totals(matrix),
        '<div class="pick"><label>show <select id="show"><option value="scope">rows of these areas</option>'
        '<option value="bad">what did not pass</option><option value="left">what no TEST claims</option>'
        '<option value="claimed">what is claimed</option><option value="all">all rows of the specification</option>'
        '</select></label><label>side <select id="side"><option value="">both</option><option>device</option>'
        '<option>driver</option></select></label><label>find <input id="find" type="search"></label><span id="shown"></span></div>',
        *_table(matrix),
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Virtio conformance</title>\n'
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


def _firsts(matrix):
    """The columns with which a VMM begins: they get a thicker edge."""
    found, before = set(), None
    for name, one in matrix.columns.items():
        if (one.vmm, one.engine) != before:
            found.add(name)
        before = (one.vmm, one.engine)
    return found


def _table(matrix):
    from .conformance import TOLD

    one, firsts = list(matrix.columns.values()), _firsts(matrix)
    lines = ['<table class="matrix"><thead><tr><th rowspan="4" class="corner">clause</th><th rowspan="4">says</th>']
    for (vmm, engine, version), width in _spans([(r.vmm, r.engine, r.version) for r in one]):
        lines.append(f'<th class="first" colspan="{width}">{escape(vmm)} {escape(version)}, {escape(engine)}</th>')
    lines.append("</tr><tr>")
    for (_, _, transport), width in _spans([(r.vmm, r.engine, r.transport) for r in one]):
        lines.append(f'<th colspan="{width}">{escape(transport)}</th>')
    lines.append("</tr><tr>" + "".join(f"<th>{escape(r.ring)}</th>" for r in one) + "</tr><tr>")
    for name in matrix.columns:
        counts = matrix.column_counts(name)
        bad = sum(counts.get(word, 0) for word in TOLD)
        lines.append(
            f'<th class="count" title="{counts.get("PASS", 0)} clauses pass, {bad} do not">{counts.get("PASS", 0)}'
            + (f"<br><b>{bad} not</b>" if bad else "") + "</th>"
        )
    lines.append("</tr></thead><tbody>")
    area = None
    for clause in matrix.clauses.values():
        if clause.area != area:
            area = clause.area
            lines.append(
                f'<tr class="area" data-area="{escape(area)}"><th colspan="{2 + len(one)}"><span>{escape(area)}</span></th></tr>'
            )
        lines.append(_row(matrix, clause, firsts))
    lines.append("</tbody></table>")
    return lines


def _row(matrix, clause, firsts):
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
    why = f"{note.kind}: {note.text}" if note else ""
    if clause.id in matrix.checks:
        more += "; positive check"
    elif why and any(cells.values()):
        more += f"; {why}"
    text = f'<tr class="clause" {flags}><td class="id" id="{clause.id}"><a href="#{clause.id}">{clause.id}</a>'
    text += f"<small>{escape(clause.level)}</small></td>"
    text += f'<td class="says">{escape(clause.summary)}<br><span class="more">{escape(more)}</span></td>'
    if not any(cells.values()) and cells:
        return text + f'<td class="v none" colspan="{len(cells)}">{escape(why) or "no TEST"}</td></tr>'
    return text + "".join(_cell(clause, name, cell, TOLD, firsts) for name, cell in cells.items()) + "</tr>"


def _cell(clause, name, cell, told, firsts):
    edge = " first" if name in firsts else ""
    if cell is None:
        return f'<td class="v none{edge}">·</td>'
    kind = cell.verdict.replace(" ", "-") + edge
    word = SHORT.get(cell.verdict, cell.verdict.lower())
    if cell.verdict not in told:
        names = ", ".join(dict.fromkeys(result.test for _, result in cell.results))
        return f'<td class="v {kind}" title="{escape(names)}">{word}</td>'
    parts = [f'<td class="v {kind}" id="{clause.id}/{escape(name)}"><details><summary>{word}</summary><div>']
    parts.append('<button class="close">close</button>')
    parts.append(f"<h2>{clause.id} on {escape(name)}: {escape(clause.summary)}</h2>")
    for verdict, result in cell.results:
        if verdict not in told:
            continue
        parts.append(f"<p><b>{escape(result.verdict)} {escape(result.test)}</b> on {escape(result.machine)}<br>")
        parts.append(f"Required: {escape(result.sentence)}</p>")
        came = [line for line in (result.reason, *result.said) if line]
        if came:
            parts.append("Came:<pre>" + escape("\n".join(came)) + "</pre>")
        if result.command:
            parts.append("Again:<pre>" + escape(result.command) + "</pre>")
        if result.again:
            parts.append("Under the harness:<pre>" + escape(result.again) + "</pre>")
    return "".join(parts) + "</div></details></td>"
