"use strict";
(() => {
  const boxes = [...document.querySelectorAll(".picker input")];
  const status = document.getElementById("picked");
  const tip = document.getElementById("tip");
  const charts = [...document.querySelectorAll(".chart")];
  const hiding = document.head.appendChild(document.createElement("style"));
  let off = new Set();

  // a mark, a line or a row belongs to a method (data-m), a pair of masks to two (data-n)
  const gone = (part) => {
    const its = part.closest("[data-m]");
    return its !== null && (off.has(its.dataset.m) || off.has(its.dataset.n));
  };
  const marksOf = (chart) => [...chart.querySelectorAll(".mark")].filter((mark) => !gone(mark));

  function show() {
    off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    const names = [...off].flatMap((m) => [`[data-m="${m}"]`, `[data-n="${m}"]`]);
    hiding.textContent = names.length ? `${names.join(",")}{display:none!important}` : "";
    document.body.classList.toggle("some", off.size > 0);
    status.textContent = `${boxes.length - off.size} of ${boxes.length} shown`;
    for (const chart of charts) {
      if (chart.dataset.stack) close(chart);
      const front = chart.querySelector(".front");
      if (front) stairs(chart, front);
      if (chart.dataset.ready) entry(chart);
    }
  }

  // rows of what is left move up
  function close(chart) {
    const step = Number(chart.dataset.stack);
    const rows = [...chart.querySelectorAll(".row")];
    const top = Number((chart.dataset.top ??= rows[0].transform.baseVal[0].matrix.f));
    const left = rows.filter((row) => !gone(row));
    left.forEach((row, i) => row.setAttribute("transform", `translate(0,${top + i * step})`));
    const box = chart.viewBox.baseVal;
    chart.setAttribute("viewBox", `0 0 ${box.width} ${top + left.length * step + 6}`);
  }

  // what no other method that is shown beats at no more cost: from the left, each that is higher than all before
  function stairs(chart, front) {
    const uses = marksOf(chart).map((mark) => mark.querySelector("use"));
    const places = uses.map((use) => [use.x.baseVal.value, use.y.baseVal.value]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const points = [];
    let best = Infinity;
    for (const [x, y] of places) {
      if (y >= best) continue;
      if (points.length) points.push(`${x},${best}`);
      points.push(`${x},${y}`);
      best = y;
    }
    front.setAttribute("points", points.join(" "));
  }

  // with this script a chart is more than one picture: its marks can be reached, and say what they are
  function ready(chart) {
    const title = chart.querySelector("title");
    chart.setAttribute("role", "group");
    chart.setAttribute("aria-label", title.textContent);
    chart.removeAttribute("aria-labelledby");
    chart.setAttribute("aria-describedby", chart.querySelector("desc").id);
    title.remove(); // else the browser shows it over every mark
    for (const mark of chart.querySelectorAll(".mark")) {
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", mark.dataset.tip);
      mark.setAttribute("tabindex", "-1");
    }
    chart.dataset.ready = "yes";
    entry(chart);
  }

  // one tab stop a chart; arrows go on from there
  function entry(chart) {
    const now = chart.querySelector('.mark[tabindex="0"]');
    if (now && !gone(now)) return;
    now?.setAttribute("tabindex", "-1");
    marksOf(chart)[0]?.setAttribute("tabindex", "0");
  }

  function tell(mark) {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const place = (mark.querySelector("use") ?? mark).getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const x = place.x + place.width / 2 - size.width / 2;
    const above = place.y - size.height - 8;
    tip.style.left = `${Math.max(8, Math.min(x, innerWidth - size.width - 8))}px`;
    tip.style.top = `${above > 8 ? above : place.bottom + 8}px`;
  }

  function hush() {
    const focused = document.activeElement;
    if (focused?.matches(".mark")) tell(focused);
    else tip.hidden = true;
  }

  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.(".mark");
    if (mark) tell(mark);
    else hush();
  });
  document.addEventListener("focusin", hush);
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
    const mark = event.target.closest?.(".mark");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!mark || !step) return;
    event.preventDefault();
    const marks = marksOf(mark.closest(".chart"));
    const next = marks[(marks.indexOf(mark) + step + marks.length) % marks.length];
    mark.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });

  const picker = document.querySelector(".picker");
  picker.addEventListener("change", show);
  picker.addEventListener("submit", (event) => event.preventDefault());
  picker.addEventListener("click", (event) => {
    const pick = event.target.dataset?.pick;
    if (!pick) return;
    for (const box of boxes) box.checked = pick === "all" || (pick === "plain" && "plain" in box.dataset);
    show();
  });
  if (matchMedia("(max-width: 67.99rem)").matches) picker.querySelector("details").open = false;
  addEventListener("beforeprint", () => (picker.querySelector("details").open = true));

  // who scrolls by keyboard stops at a drawing only where there is something to scroll
  const sheets = new ResizeObserver((seen) => {
    for (const { target } of seen) {
      if (target.scrollWidth > target.clientWidth + 1) target.setAttribute("tabindex", "0");
      else target.removeAttribute("tabindex");
    }
  });
  for (const sheet of document.querySelectorAll(".sheet")) sheets.observe(sheet);

  // thousands of marks are made ready as they come into sight
  const sight = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (!one.isIntersecting || one.target.dataset.ready) continue;
      ready(one.target);
      sight.unobserve(one.target);
    }
  }, { rootMargin: "400px" });
  for (const chart of charts) sight.observe(chart);
  show();
})();
