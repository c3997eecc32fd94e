"use strict";
(() => {
  const boxes = [...document.querySelectorAll('.picker input[name="m"]')];
  const status = document.getElementById("picked");
  const tip = document.getElementById("tip");

  function show() {
    const on = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const part of document.querySelectorAll("[data-m]")) {
      if (on.has(part.dataset.m)) part.removeAttribute("hidden");
      else part.setAttribute("hidden", "");
    }
    status.textContent = `: ${on.size} of ${boxes.length} shown`;
    for (const chart of document.querySelectorAll(".chart")) entry(chart);
  }

  const visible = (chart) => [...chart.querySelectorAll(".mark")].filter((mark) => !mark.closest("[hidden]"));

  // one tab stop a chart; arrows go from mark to mark
  function entry(chart) {
    const marks = visible(chart);
    if (!marks.some((mark) => mark.tabIndex === 0)) {
      for (const mark of chart.querySelectorAll('.mark[tabindex="0"]')) mark.tabIndex = -1;
      if (marks.length) marks[0].tabIndex = 0;
    }
  }

  function tell(mark) {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const place = mark.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const x = Math.min(Math.max(8, place.x + place.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = place.y - size.height - 8;
    tip.style.left = `${x}px`;
    tip.style.top = `${above > 8 ? above : place.bottom + 8}px`;
  }

  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.(".mark");
    if (mark) tell(mark);
    else if (!document.activeElement?.matches(".mark")) tip.hidden = true;
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches(".mark")) tell(event.target);
    else tip.hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
    const mark = event.target.closest?.(".mark");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!mark || !step) return;
    event.preventDefault();
    const marks = visible(mark.closest(".chart"));
    const next = marks[(marks.indexOf(mark) + step + marks.length) % marks.length];
    mark.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  document.querySelector(".picker").addEventListener("click", (event) => {
    const pick = event.target.dataset?.pick;
    if (!pick) return;
    for (const box of boxes) box.checked = pick === "all" || (pick === "plain" && box.dataset.plain === "1");
    show();
  });
  document.querySelector(".picker").addEventListener("change", show);
  for (const box of boxes) box.checked = box.dataset.plain === "1";
  if (matchMedia("(max-width: 60rem)").matches) document.querySelector(".picker details").open = false;
  show();
})();
