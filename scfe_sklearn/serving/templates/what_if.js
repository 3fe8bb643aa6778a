"use strict";
const byId = (id) => document.getElementById(id);
const state = { setup: null, person: 0, original: [], values: [], proposal: null, turn: 0, parts: [] };

async function ask(address, question) {
  const options = question === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  };
  const response = await fetch(address, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const percent = (share) => {
  if (share > 0 && share < 0.005) return "<\u00a01\u00a0%";
  if (share < 1 && share >= 0.995) return ">\u00a099\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
};
const tidy = (number) => Number(number.toPrecision(12));
const shown = (number) => {
  const [whole, ...fraction] = String(number).split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...fraction].join(".");
};

function snap(feature, number) {
  if (feature.step > 0) {
    return tidy(Math.round((number - feature.offset) / feature.step) * feature.step + feature.offset);
  }
  const unit = 10 ** Math.floor(Math.log10((feature.high - feature.low) / 200));
  return tidy(Math.round(number / unit) * unit);
}

function fail(error) {
  byId("error").textContent = error ? error.message : "";
  byId("error").hidden = !error;
}

// One block per feature: a curve over a slider with a box for numbers, buttons or a list for levels.
function curve(heights) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  const points = heights.map((height, k) => `${100 * k / (heights.length - 1)},${30 - 29 * height}`);
  path.setAttribute("d", `M0,30 L${points.join(" ")} L100,30 Z`);
  svg.append(path);
  return svg;
}

// A name may break after its own separators, not within a word.
function named(name) {
  const parts = name.split(/(?<=[_./:-])/);
  return make("bdi", {}, ...parts.flatMap((part, k) => k ? [make("wbr"), part] : [part]));
}

function numberPart(feature, k, block, head) {
  const box = make("input", { type: "number", step: "any", id: `value-${k}` });
  const slider = make("input", { type: "range", step: "any", min: feature.low, max: feature.high });
  slider.setAttribute("aria-label", feature.name);
  slider.addEventListener("input", () => move(k, snap(feature, Number(slider.value))));
  box.addEventListener("change", () => {
    if (box.value !== "" && Number.isFinite(box.valueAsNumber)) move(k, box.valueAsNumber);
    else show(k);
  });
  head.append(box);
  block.append(make("div", { className: "slider" }, curve(feature.curve), slider));
  return (value) => {
    box.value = value ?? "";
    box.placeholder = value === null ? "missing" : "";
    box.style.fontSize = box.value.length > 16 ? "0.8rem" : "";
    const width = `${Math.max(box.value.length, 5) + 1}ch + 2.4rem`;
    box.style.width = `calc(${width})`;
    // Parts of a pixel clip what fits; browsers that cannot round keep the line above.
    box.style.width = `round(up, ${width}, 1px)`;
    slider.min = Math.min(feature.low, value ?? feature.low, state.original[k] ?? feature.low);
    slider.max = Math.max(feature.high, value ?? feature.high, state.original[k] ?? feature.high);
    slider.value = value ?? feature.low;
    // The curve has its own ends; it keeps its place when the slider gets longer.
    const svg = slider.previousSibling, low = Number(slider.min), span = Number(slider.max) - low;
    const across = svg.parentElement.clientWidth - 16;
    svg.style.width = `${across * (feature.high - feature.low) / span}px`;
    svg.style.marginLeft = `${8 + across * (feature.low - low) / span}px`;
  };
}

function listPart(feature, k, block, head) {
  const list = make("select", { id: `value-${k}` });
  feature.levels.forEach((level, position) => list.append(make("option", { value: position }, level)));
  list.addEventListener("change", () => move(k, Number(list.value)));
  head.append(list);
  return (value) => { list.value = value === null ? "" : String(value); };
}

function buttonsPart(feature, k, block) {
  const buttons = feature.levels.map((level, position) => {
    const button = make("input", { type: "radio", name: `value-${k}`, value: position });
    button.addEventListener("change", () => move(k, position));
    block.choices.append(make("label", {}, button, make("bdi", {}, level)));
    return button;
  });
  return (value) => buttons.forEach((button, position) => { button.checked = position === value; });
}

function part(feature, k) {
  const few = feature.levels && feature.levels.length <= 6
    && feature.levels.join("").length <= 60;
  const name = make(few ? "legend" : "label", { className: "name" }, named(feature.name));
  const head = make("div", { className: "head" });
  const was = make("span", { className: "was" });
  const block = make(few ? "fieldset" : "div", { className: "feature" });
  if (!few) name.htmlFor = `value-${k}`;
  head.append(make("span", {}, name, " ", was));
  block.append(head);
  const note = make("p", { className: "note", id: `note-${k}`, hidden: true });
  let set;
  if (!feature.levels) set = numberPart(feature, k, block, head);
  else if (!few) set = listPart(feature, k, block, head);
  else {
    head.replaceChildren(name, was);
    block.choices = make("div", { className: "choices" });
    set = buttonsPart(feature, k, block);
    block.append(block.choices);
  }
  block.append(note);
  block.querySelectorAll("input, select").forEach((input) => {
    input.setAttribute("aria-describedby", note.id);
  });
  byId("features").append(block);
  return { block, was, set, note };
}

function text(feature, value) {
  if (value === null) return "missing";
  return feature.levels ? feature.levels[value] : shown(value);
}

function show(k) {
  const { block, was, set } = state.parts[k];
  const moved = state.values[k] !== state.original[k];
  set(state.values[k]);
  block.classList.toggle("moved", moved);
  was.replaceChildren();
  if (moved) {
    const back = make("button", { type: "button" }, "undo");
    back.addEventListener("click", () => move(k, state.original[k]));
    const before = make("bdi", {}, text(state.setup.features[k], state.original[k]));
    was.append("was ", before, back);
  }
}

let waiting = null;
function move(k, value) {
  state.values[k] = value;
  show(k);
  update();
}

function update() {
  const turn = ++state.turn;
  const moved = state.values.some((value, k) => value !== state.original[k]);
  byId("reset").hidden = !moved;
  document.querySelector(".nearest").classList.add("waiting");
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const question = { person: state.person, values: state.values };
    try {
      const answer = await ask("/api/answer", question);
      if (turn !== state.turn) return;
      showPrediction(answer);
      const proposal = await ask("/api/recourse", question);
      if (turn !== state.turn) return;
      proposes(proposal);
      fail(null);
    } catch (error) {
      if (turn === state.turn) fail(error);
    } finally {
      if (turn === state.turn) document.body.dataset.ready = String(turn);
    }
  }, 120);
}

function showPrediction(answer) {
  answer.values.forEach((value, k) => {
    if (value === state.values[k]) return;
    state.values[k] = value;
    show(k);
  });
  state.parts.forEach(({ block, note }, k) => {
    const texts = answer.notes.filter((one) => one.feature === k).map((one) => one.text);
    note.textContent = texts.join(" ");
    note.hidden = !texts.length;
    block.classList.toggle("noted", texts.length > 0);
  });
  byId("prediction").textContent = answer.prediction;
  byId("prediction").className = `pill ${answer.reached ? "good" : ""}`;
  byId("chance-box").hidden = answer.probability === null;
  byId("typical-box").hidden = answer.quantile === null;
  byId("goal").textContent = answer.goal ?? "";
  if (answer.probability !== null) {
    byId("chance").textContent = percent(answer.probability);
    byId("chance-bar").style.width = `${100 * answer.probability}%`;
  }
  if (answer.quantile !== null) {
    byId("typical").textContent = percent(answer.quantile);
    byId("typical-bar").style.width = `${100 * answer.quantile}%`;
  }
}

function proposes(proposal) {
  state.proposal = proposal;
  document.querySelector(".nearest").classList.remove("waiting");
  byId("sentence").firstChild.textContent = proposal.sentence;
  byId("apply").hidden = !proposal.found || !proposal.changes.length;
  const facts = [];
  if (proposal.found && proposal.probability !== null) {
    facts.push(`Then the probability is ${percent(proposal.probability)}.`);
  }
  if (proposal.found && proposal.quantile !== null) {
    facts.push(`More typical than ${percent(proposal.quantile)} of the training rows with it.`);
  }
  byId("facts").textContent = facts.join(" ");
  byId("broken").hidden = !proposal.broken.length;
  byId("broken").textContent = proposal.broken.length
    ? `Together with what you moved, this breaks a rule: ${proposal.broken.join("; ")}.` : "";
  const moved = new Set(proposal.changes.map((change) => change.feature));
  state.parts.forEach(({ block }, k) => block.classList.toggle("proposed", moved.has(k)));
}

async function choose(person) {
  const last = state.setup.people - 1;
  state.person = Math.min(Math.max(Math.round(person) || 0, 0), last);
  byId("number").value = state.person + 1;
  byId("previous").disabled = state.person === 0;
  byId("next").disabled = state.person === last;
  try {
    const answer = await ask("/api/person", { person: state.person });
    byId("label").textContent = answer.label;
    state.original = answer.values;
    state.values = [...answer.values];
    state.parts.forEach((_, k) => show(k));
    update();
  } catch (error) {
    fail(error);
  }
}

async function start() {
  try {
    state.setup = await ask("/api/setup");
  } catch (error) {
    fail(error);
    return;
  }
  byId("people").textContent = shown(state.setup.people);
  byId("number").max = state.setup.people;
  byId("rules-box").hidden = !state.setup.rules.length;
  byId("rules").append(...state.setup.rules.map((rule) => make("li", {}, make("bdi", {}, rule))));
  state.parts = state.setup.features.map(part);
  byId("previous").addEventListener("click", () => choose(state.person - 1));
  byId("next").addEventListener("click", () => choose(state.person + 1));
  byId("number").addEventListener("change", () => choose(byId("number").valueAsNumber - 1));
  byId("features").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => {
    state.values = [...state.original];
    state.parts.forEach((_, k) => show(k));
    update();
  });
  byId("apply").addEventListener("click", () => {
    state.values = [...state.proposal.values];
    state.parts.forEach((_, k) => show(k));
    update();
  });
  addEventListener("resize", () => state.parts.forEach((_, k) => show(k)));
  await choose(0);
}

start();
