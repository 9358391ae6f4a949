// The page of `espsim explain --html`: steps, what lights up, what is saved, and the switches of the questions.
// Nothing is fetched, and nothing of a packet becomes markup: text goes in as text.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const data = JSON.parse($("data").textContent);
  document.documentElement.classList.add("js");

  // -- what belongs together ----------------------------------------------------------------------------------------
  const cells = all(".dump i");
  const steps = all(".step");
  const fields = all("[data-field]").map((el) => ({
    el, key: el.dataset.field, step: Number(el.dataset.of),
    at: "at" in el.dataset ? Number(el.dataset.at) : -1, size: Number(el.dataset.size || 0),
  }));
  const branches = all("#tree li[data-step]");
  const hex4 = (n) => n.toString(16).padStart(4, "0");

  const dark = () => all(".lit").forEach((el) => el.classList.remove("lit"));
  const litBytes = (field) => {
    if (field.at >= 0) for (const cell of cells.slice(field.at, field.at + field.size)) cell.classList.add("lit");
  };
  const same = (a, b) => a.key === b.key || (a.at >= 0 && a.at === b.at && a.size === b.size);
  const lightField = (field) => {
    dark();
    litBytes(field);
    for (const each of fields) {
      if (same(each, field)) {
        each.el.classList.add("lit");
        branches[each.step]?.classList.add("lit");
      }
    }
  };
  const lightStep = (number) => {
    dark();
    branches[number]?.classList.add("lit");
    for (const each of fields) if (each.step === number) litBytes(each);
  };
  const covering = (at) => fields.filter((f) => f.at >= 0 && f.at <= at && at < f.at + f.size);
  const lightByte = (at) => {
    dark();
    const found = covering(at);
    const least = Math.min(...found.map((f) => f.size));
    for (const each of found) {
      each.el.classList.add("lit");
      branches[each.step]?.classList.add("lit");
      if (each.size === least) litBytes(each);
    }
    cells[at].classList.add("lit");
    $("told").textContent = describe(at);
  };
  const describe = (at) => {
    const found = covering(at);
    const names = [...new Set(found.map((f) => f.el.dataset.name))];
    const used = [...new Set(found.map((f) => steps[f.step].dataset.name))];
    const what = names.length ? `${names.join(", ")}; used by ${used.join(", ")}` : "no step looks at it";
    return `byte ${at} (0x${hex4(at)}) is ${cells[at].textContent}: ${what}`;
  };

  // -- steps --------------------------------------------------------------------------------------------------------
  let now = 0;
  const show = (number, said = true) => {
    now = Math.min(Math.max(number, 0), steps.length - 1);
    steps.forEach((step, n) => step.classList.toggle("now", n === now));
    branches.forEach((branch, n) => {
      branch.classList.toggle("now", n === now);
      branch.firstElementChild.toggleAttribute("aria-current", false);
      if (n === now) branch.firstElementChild.setAttribute("aria-current", "step");
    });
    cells.forEach((cell) => cell.classList.remove("used"));
    for (const field of fields) {
      if (field.step === now && field.at >= 0)
        for (const cell of cells.slice(field.at, field.at + field.size)) cell.classList.add("used");
    }
    $("back").setAttribute("aria-disabled", String(now === 0));
    $("next").setAttribute("aria-disabled", String(now === steps.length - 1));
    $("where").textContent = `${now + 1} of ${steps.length}`;
    if (said) $("said").textContent = `Step ${now + 1} of ${steps.length}: ${steps[now].dataset.name}. ${steps[now].dataset.says}`;
  };
  const move = (by) => show(now + by);
  $("back").addEventListener("click", () => move(-1));
  $("next").addEventListener("click", () => move(1));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input, select, textarea, .dump, .wide, pre")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      move(by);
    }
  });
  branches.forEach((branch, n) => {
    const button = branch.firstElementChild;
    button.addEventListener("click", () => show(n));
    for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, () => lightStep(n));
    for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, dark);
  });
  for (const field of fields) {
    const on = field.el.matches("li") ? field.el.firstElementChild : field.el;
    for (const kind of ["pointerenter", "focus"]) on.addEventListener(kind, () => lightField(field));
    for (const kind of ["pointerleave", "blur"]) on.addEventListener(kind, dark);
    if (field.el.matches("li")) on.addEventListener("click", () => { show(field.step); lightField(field); });
  }

  // -- bytes --------------------------------------------------------------------------------------------------------
  cells.forEach((cell, at) => {
    cell.setAttribute("role", "button");
    cell.tabIndex = at === 0 ? 0 : -1;
    cell.setAttribute("aria-label", describe(at));
    cell.addEventListener("pointerenter", () => lightByte(at));
    cell.addEventListener("pointerleave", dark);
    cell.addEventListener("focus", () => lightByte(at));
    cell.addEventListener("blur", dark);
    cell.addEventListener("click", () => take(at));
  });
  const take = (at) => {
    reach(at);
    const found = covering(at);
    if (flipping()) chooseByte(at);
    else if (found.length && !found.some((f) => f.step === now)) show(found[0].step);
    lightByte(at);
  };
  const reach = (at) => {
    cells.forEach((cell) => { cell.tabIndex = -1; });
    cells[at].tabIndex = 0;
    cells[at].focus();
  };
  document.querySelector(".dump").addEventListener("keydown", (event) => {
    const at = cells.indexOf(event.target);
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -16, ArrowDown: 16 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? cells.length - 1 : by ? at + by : null;
    if (at < 0) return;
    if (event.key === "Enter" || event.key === " ") take(at);
    else if (to === null) return;
    else if (cells[to]) reach(to);
    event.preventDefault();
  });

  // -- saving -------------------------------------------------------------------------------------------------------
  const save = (name, kind, parts) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type: kind }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    $("saved").textContent = `${name} is saved`;
  };
  $("save-capture")?.addEventListener("click", () => {
    const bytes = Uint8Array.from(atob(data.save.capture), (c) => c.charCodeAt(0));
    save(data.save.capture_name, "application/vnd.tcpdump.pcap", [bytes]);
  });
  $("save-sad")?.addEventListener("click", () => save("explained.sad", "text/plain", [data.save.sad]));

  // -- drawing ------------------------------------------------------------------------------------------------------
  const SVG = document.querySelector("svg").namespaceURI;
  const draw = (name, facts, text) => {
    const el = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(facts)) el.setAttribute(key, value);
    if (text !== undefined) el.textContent = text;
    return el;
  };
  const room = () => Math.min(640, $("twice-says").clientWidth || 640);
  const canvas = (high, label) => {
    const wide = room();
    return draw("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": label });
  };
  const fill = (id, ...children) => $(id).replaceChildren(...children);

  // -- 1. one bit ---------------------------------------------------------------------------------------------------
  const flip = data.questions.flip;
  const flipping = () => Boolean(flip) && $("flip-on").checked;
  let chooseByte = () => {};
  if (flip) {
    const kindOf = [];
    for (const [kind, count] of flip.runs) for (let i = 0; i < count; i++) kindOf.push(kind);
    const place = (at) => (at < flip.first ? at : at - (flip.length - flip.last - flip.first));
    const was = cells.map((cell) => cell.textContent);
    const tell = () => {
      const write = (n, text, flipped) => {
        cells[n].textContent = text;
        cells[n].classList.toggle("flipped", flipped);
        cells[n].setAttribute("aria-label", describe(n) + (flipped ? "; a bit of it is flipped" : ""));
      };
      cells.forEach((cell, n) => { if (cell.classList.contains("flipped")) write(n, was[n], false); });
      const at = Math.min(Math.max(Math.trunc(Number($("flip-byte").value)) || 0, 0), flip.length - 1);
      const bit = Number($("flip-bit").value);
      if (!flipping()) {
        fill("flip-says", "Nothing is flipped. Switch it on, and choose a byte here or among the frame's bytes.");
        return;
      }
      if (cells[at]) write(at, (parseInt(was[at], 16) ^ (1 << bit)).toString(16).padStart(2, "0"), true);
      if (at >= flip.first && at < flip.length - flip.last) {
        fill("flip-says", `Byte ${at} lies in the middle, of which no run was made.`);
        return;
      }
      const kind = flip.kinds[kindOf[place(at) * 8 + 7 - bit]];
      const sees = kind.check === "no check" ? "No check sees it" : `Seen by: ${kind.check}`;
      const counter = kind.counter ? `${kind.counter} moves` : "no counter moves";
      fill("flip-says", `Bit ${bit} of byte ${at} flipped. ${sees}. ${kind.verdict ? `${kind.verdict}: ` : ""}${kind.says}; ${counter}.`);
    };
    chooseByte = (at) => {
      $("flip-byte").value = at;
      tell();
    };
    for (const id of ["flip-on", "flip-byte", "flip-bit"]) $(id).addEventListener("input", tell);
    tell();
  }

  // -- 2. twice, late -----------------------------------------------------------------------------------------------
  const drawWindow = (arrival, size) => {
    const top = arrival.before.top;
    const left = Math.max(top - size + 1, 0);
    const low = Math.min(left, arrival.seq), high = Math.max(top, arrival.seq, low + size - 1) + 1;
    const wide = room() - 20;
    const x = (n) => 10 + ((n - low) / (high - low)) * wide;
    const width = Math.max(wide / (high - low), 3);
    const svg = canvas(74, `The window is ${left} to ${top} before packet ${arrival.seq} comes`);
    svg.append(draw("rect", { x: x(left), y: 24, width: Math.max(x(top + 1) - x(left), 3), height: 20, class: "cell" }));
    for (const n of arrival.before.seen) svg.append(draw("rect", { x: x(n), y: 24, width, height: 20, class: "seen" }));
    svg.append(draw("path", { d: `M${x(arrival.seq) + width / 2},8 v14 m-4,-6 l4,6 l4,-6`, class: "axis" }));
    const middle = x(arrival.seq) + width / 2;
    svg.append(draw("text", { x: middle, y: 14, dx: middle > wide * 0.7 ? -8 : 8, "text-anchor": middle > wide * 0.7 ? "end" : "start" }, String(arrival.seq)));
    svg.append(draw("text", { x: x(left), y: 62 }, String(left)));
    svg.append(draw("text", { x: x(top + 1), y: 62, "text-anchor": top > left + size / 4 ? "end" : "start", dx: top > left + size / 4 ? 0 : 24 }, top > left ? String(top) : ""));
    return svg;
  };
  const tellTwice = () => {
    const name = document.querySelector("input[name=twice]:checked").value;
    const esn = $("twice-esn").checked;
    const found = data.questions.twice.cases.find((each) => each.name === name && each.esn === esn);
    const last = found.arrivals[found.arrivals.length - 1];
    const guess = last.seq64 !== null && last.seq64 !== last.seq ? ` Its 64-bit number is taken for ${last.seq64}.` : "";
    const counter = last.counter ? `${last.counter} moves` : "no counter moves";
    fill("twice-says", `${esn ? "With" : "Without"} ESN. ${found.says} Then number ${last.seq}: ${last.verdict}, ${last.says}; ${counter}.${guess}`);
    fill("twice-draw", drawWindow(last, data.questions.twice.size));
  };
  for (const el of [...all("input[name=twice]"), $("twice-esn")]) el.addEventListener("input", tellTwice);
  tellTwice();

  // -- 3. the device's mask -----------------------------------------------------------------------------------------
  const outcomes = {
    HIT: "its own context", WRONG_SA: "another SA's context", SA_MISMATCH: "refused: the slot's SPI is another one",
    EMPTY_SLOT: "an empty slot", MISS: "goes to software",
  };
  const drawSlots = (run) => {
    const slots = 2 ** run.bits, columns = Math.min(slots, 64), wide = room() - 20, side = wide / columns;
    const tall = Math.min(side, 40), rows = Math.min(Math.ceil(slots / columns), 64), each = slots / (rows * columns);
    const high = Math.max(tall, rows > 16 ? 4 : tall);
    const svg = canvas(rows * (rows > 8 ? 6 : high) + 10, `${slots} slots, ${new Set(run.sas.filter((s) => !s.errno).map((s) => s.slot)).size} written`);
    const step = rows > 8 ? 6 : high;
    svg.append(draw("rect", { x: 10, y: 4, width: wide, height: rows * step, class: "cell" }));
    const wanted = {};
    run.sas.forEach((sa, n) => { (wanted[sa.slot] ||= []).push(n); });
    for (const [slot, who] of Object.entries(wanted)) {
      const at = Math.floor(slot / each), x = 10 + (at % columns) * side, y = 4 + Math.floor(at / columns) * step;
      svg.append(draw("rect", { x, y, width: Math.max(side - 1, 5), height: Math.max(step - 1, 5), class: who.length > 1 ? "clash" : "hit" }));
      if (side > 14 && step > 12) svg.append(draw("text", { x: x + side / 2, y: y + step / 2 + 4, "text-anchor": "middle", class: "on" }, who.map((n) => data.questions.mask.sas[n].name).join(side > 60 ? " " : "")));
    }
    return svg;
  };
  const tellMask = () => {
    const run = data.questions.mask.runs[Number($("mask-bits").value) - 1];
    const refused = run.sas.filter((sa) => sa.errno).length;
    const good = run.sas.filter((sa) => sa.outcome === "HIT").length;
    const wrong = run.sas.filter((sa) => sa.outcome === "WRONG_SA").length;
    $("mask-bits").setAttribute("aria-valuetext", `${run.bits} bits`);
    fill("mask-says", `${run.bits} bit${run.bits > 1 ? "s" : ""}, ${2 ** run.bits} slots: ${refused} of ${run.sas.length} SAs refused, packets of ${good} meet their own context, of ${wrong} another SA's.`);
    fill("mask-draw", drawSlots(run));
    run.sas.forEach((sa, n) => {
      const row = $("mask-rows").rows[n];
      row.cells[3].textContent = String(sa.slot);
      row.cells[4].textContent = sa.errno ? `refused (${sa.errno}); ${sa.holder} has it` : "written";
      row.cells[5].textContent = outcomes[sa.outcome] + (sa.outcome === "WRONG_SA" ? ` (${sa.uses})` : "");
      row.cells[5].className = sa.outcome === "HIT" ? "ok" : "bad";
    });
  };
  $("mask-bits").addEventListener("input", tellMask);
  tellMask();

  // -- 4. who may have it -------------------------------------------------------------------------------------------
  const tellWho = () => {
    const said = $("who-dir").checked;
    $("who-no").hidden = said;
    $("who-yes").hidden = !said;
    $("who-says").textContent = said ? "Requests say their direction (dir in, dir out)." : "Requests say no direction.";
  };
  $("who-dir").addEventListener("input", tellWho);
  tellWho();

  show(0, false);
})();
