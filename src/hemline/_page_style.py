"""The style and the script of the pages that `hemline.page` makes."""

STYLE = """
:root{--paper:#fbfaf8;--card:#fff;--ink:#1d1d22;--faint:#6a6a74;--line:#e4e2dd;--hue:0,104,167;--main:rgb(0,104,167);
--no:#d9d6cf;--rare:#b3541e;--c0:#0072b2;--c1:#e69f00;--c2:#009e73;--c3:#cc79a7;--c4:#56b4e9;--c5:#d55e00}
@media(prefers-color-scheme:dark){:root{--paper:#141417;--card:#1c1c21;--ink:#ececf0;--faint:#9b9ba7;--line:#33333b;
--hue:96,180,240;--main:rgb(96,180,240);--no:#3d3d46;--rare:#f0a35e;--c0:#4aa8e0;--c1:#e8b03a;--c2:#2fbf97;--c3:#d894b8;
--c4:#8fd0f5;--c5:#ef8a45}}
*{box-sizing:border-box}
html{color-scheme:light dark;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header,footer{max-width:1120px;margin:0 auto;padding:0 24px}
header{padding-top:48px}footer{padding:24px;color:var(--faint)}
h1{font-size:34px;line-height:1.15;margin:0 0 6px;letter-spacing:-.02em}
section{scroll-margin-top:48px}
h2{font-size:26px;margin:64px 0 4px;letter-spacing:-.01em}
h3{font-size:17px;margin:0 0 2px}
p{margin:0 0 12px;max-width:74ch}.said,figcaption,caption{color:var(--faint);font-size:13.5px}
nav{position:sticky;top:0;z-index:3;background:var(--paper);border-bottom:1px solid var(--line);margin-top:20px}
nav ul{max-width:1120px;margin:0 auto;padding:10px 24px;display:flex;gap:6px 20px;flex-wrap:wrap;list-style:none}
a{color:var(--main);text-decoration:none}a:hover{text-decoration:underline}
section>*{margin-bottom:20px}.tiles~.card{margin-bottom:20px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:12px;padding:0;margin:16px 0 20px}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tiles dt{color:var(--faint);font-size:13px}.tiles dd{margin:0;font-size:26px;font-weight:650;letter-spacing:-.02em;
white-space:nowrap}
.tiles small{display:block;font-size:12.5px;font-weight:400;letter-spacing:0;white-space:normal;color:var(--faint)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:20px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.list{width:100%;font-size:14px}.list th{text-align:right;font-weight:600;color:var(--faint);font-size:12.5px}
.list td,.list th{padding:3px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
.list th:first-child,.list td:first-child{text-align:left;white-space:normal;min-width:180px}
.list .group{text-align:left}
.list td.long{width:32%;min-width:130px}.list tbody tr:hover{background:rgba(var(--hue),.07)}
.list button{all:unset;cursor:pointer}.list button:focus-visible{outline:2px solid var(--main);border-radius:3px}
th[aria-sort=ascending] button::after{content:" ↑"}th[aria-sort=descending] button::after{content:" ↓"}
.rare{color:var(--rare);font-size:12px;border:1px solid;border-radius:8px;padding:0 6px;margin-left:6px}
.group{color:var(--faint);font-size:12.5px}
.bar{height:13px;background:none}.bar i{display:block;height:100%;background:var(--main);border-radius:0 3px 3px 0}
.split{display:flex;height:13px;border-radius:3px;overflow:hidden;min-width:90px}.split i{height:100%}
.split.tall{height:26px;border-radius:6px;margin-top:10px}
.yes{background:var(--main)}.no{background:var(--no)}
.unknown,.heat .none{background:repeating-linear-gradient(135deg,transparent 0 3px,var(--line) 3px 4.5px)}
.c0{background:var(--c0)}.c1{background:var(--c1)}.c2{background:var(--c2)}.c3{background:var(--c3)}
.c4{background:var(--c4)}.c5{background:var(--c5)}
.legend{display:flex;gap:4px 20px;flex-wrap:wrap;list-style:none;padding:0;margin:8px 0 0;font-size:13.5px}
.legend b{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.scroll{overflow-x:auto;max-width:100%}
.heat{font-size:11px;line-height:1.1}.heat td{width:30px;min-width:30px;height:24px;text-align:center;padding:0;
background:rgba(var(--hue),var(--a,0));border:1px solid var(--card)}
.heat .hot{color:var(--card);font-weight:600}.heat tbody th{font-weight:400;font-size:12.5px;text-align:right;
padding:0 8px 0 0;white-space:nowrap;position:sticky;left:0;background:var(--card)}
.heat thead td{background:none;color:var(--faint);vertical-align:bottom;text-align:right;padding:0 8px 4px 0;
white-space:nowrap;width:auto}
.heat thead th{font-weight:400;font-size:12.5px;vertical-align:bottom;padding:0 0 4px}

.beside{display:flex;flex-wrap:wrap;gap:20px 36px;align-items:flex-start}
.wide td{min-width:64px}.wide thead th{padding:0 8px 4px;max-width:130px}
.turned thead span{writing-mode:vertical-rl;transform:rotate(180deg);max-height:170px;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap;display:inline-block}
.heat td:hover{outline:2px solid var(--ink);outline-offset:-1px}
svg{display:block;width:100%;height:auto}svg text{font-size:12.5px;fill:var(--ink)}
svg .axis{fill:var(--faint);font-size:11.5px}
.grid{stroke:var(--line)}.aspect{stroke:var(--faint);stroke-dasharray:3 4;opacity:.6}
.hit{fill:transparent}g:hover>.hit{fill:rgba(var(--hue),.07)}
.violin{fill:rgba(var(--hue),.28)}.whisker{stroke:var(--main);stroke-width:1.2}.box{fill:var(--main)}
.median{fill:var(--card);stroke:var(--main);stroke-width:2}.column{fill:var(--main)}
.dot{fill:rgba(var(--hue),.32);stroke:var(--main)}.dot:hover{fill:var(--main)}
.strip{display:grid;grid-template-columns:170px 1fr;gap:4px 16px;align-items:center;border-bottom:1px solid var(--line);
padding:8px 0}.strip h4{margin:0;font-size:14px;font-weight:600}.strip p{margin:0;color:var(--faint);font-size:12.5px}
.strip div+div{display:flex;gap:6px;overflow-x:auto}.strip img{width:90px;height:120px;border-radius:6px;display:block}
details{margin-top:12px}summary{cursor:pointer;color:var(--main);font-size:13.5px}
.bad{border-left:4px solid var(--rare)}
@media(max-width:600px){.strip{grid-template-columns:1fr}.pair{grid-template-columns:1fr}main,header{padding:0 12px}}
@media print{nav{display:none}.unknown,.heat .none{background:var(--line)}.card,.tiles div{break-inside:avoid}}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.list")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const first = head.dataset.first || "descending";
      const other = first === "descending" ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const value = row => {
        const cell = row.cells[column], number = Number(cell.dataset.value);
        return Number.isNaN(number) || cell.dataset.value === undefined ? cell.textContent : number;
      };
      const sign = order === "ascending" ? 1 : -1;
      const body = table.tBodies[0];
      [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b);
        return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
      }).forEach(row => body.append(row));
    });
  });
}
"""
